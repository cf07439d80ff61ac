"""SSLAM: the network of EAT-base, trained further on mixtures."""

from collections.abc import Callable, Mapping
from typing import Any

from asd_jax.encoders import eat, family

KIND = eat.KIND._replace(name="sslam", title="SSLAM")
SIZES = {"base": eat.SIZES["base"]}
RULES = eat.RULES
settings_of = eat.settings_of
port = eat.port


def of_settings(
  settings: Mapping[str, Any], *, dtype: str = "float32"
) -> family.Encoder:
  """Makes the encoder of converted weights.

  Args:
    settings: as `port` returns them.
    dtype: `"float32"`, or `"bfloat16"` for faster matrix products.

  Returns:
    The encoder.

  Raises:
    InputError: for settings that are missing, unknown or do not fit.
  """
  return eat.of_settings(settings, dtype=dtype, kind=KIND)


def sslam(
  *, size: str | Mapping[str, Any] = "base", dtype: str = "float32"
) -> family.Encoder:
  """The published SSLAM: 16 x 16 patches of 128 bands, CLS first.

  Args:
    size: `"base"`; or the settings
      of another network.
    dtype: `"float32"`, or `"bfloat16"` for faster matrix products.

  Returns:
    The encoder; at most 768 time patches (122.9 s).

  Raises:
    InputError: for another size or dtype, or settings that do not fit.

  Source: [SSLAM25].
  """
  settings = family.settings_of_size(SIZES, KIND.title, size)
  return of_settings(settings, dtype=dtype)


ENCODERS: dict[str, Callable] = {"sslam": sslam}
