"""SSLAM: the network of EAT-base, trained further on mixtures."""

from collections.abc import Callable, Mapping
from typing import Any

from asd_jax.encoders import eat, pretrained

SIZES = {"base": eat.SIZES["base"]}
RULES = eat.RULES
settings_of = eat.settings_of
port = eat.port


def of_settings(
  settings: Mapping[str, Any], *, dtype: str = "float32"
) -> pretrained.FrozenEncoder:
  """Makes the encoder of converted weights.

  Args:
    settings: as `port` returns them.
    dtype: `"float32"`, or `"bfloat16"` for faster matrix products.

  Returns:
    The encoder.

  Raises:
    ValueError: if the number of heads is not known or does not fit.
  """
  return eat.of_settings(settings, dtype=dtype, title="SSLAM")


def sslam(
  *, size: str = "base", dtype: str = "float32"
) -> pretrained.FrozenEncoder:
  """The published SSLAM: 16 x 16 patches of 128 bands, CLS first.

  Args:
    size: `"base"`.
    dtype: `"float32"`, or `"bfloat16"` for faster matrix products.

  Returns:
    The encoder; at most 768 time patches (122.9 s).

  Raises:
    ValueError: for another size or dtype.

  Source: [SSLAM25].
  """
  return of_settings(pretrained.published(SIZES, "SSLAM", size), dtype=dtype)


ENCODERS: dict[str, Callable] = {"sslam": sslam}
