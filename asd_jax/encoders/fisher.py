"""FISHER: EAT's network on sub-bands of linear frequency, at any sample rate.

Both name their weights alike; only the training settings of a file tell them
apart.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from asd_jax import errors
from asd_jax.encoders import eat, family
from asd_jax.weights import rules

# A sub-band is 100 bins, 4 kHz; its last four bins fill no patch.
_BAND_WIDTH, _PATCH = 100, (16, 16)
_NUM_BANDS = _BAND_WIDTH // _PATCH[1]
# Heads are 64 wide in every published size.
_HEAD = 64
SIZES = {
  "tiny": dict(
    width=192, depth=12, num_heads=3, hidden=768, num_positions=6400
  ),
  "mini": dict(
    width=256, depth=12, num_heads=4, hidden=1024, num_positions=6400
  ),
  "small": dict(
    width=384, depth=12, num_heads=6, hidden=1536, num_positions=6400
  ),
  "smoke": dict(width=48, depth=2, num_heads=4, hidden=96, num_positions=6400),
}
NAMES = eat.NAMES._replace(
  layouts=(
    rules.Layout(r"modality_encoders\..*", ()),
    # Of the hub's files; what stands in front of their names is not known.
    rules.Layout(
      r"fixed_positional_encoder\.positions",
      (
        (
          r"(?=(extra_tokens|(local|fixed_positional|context)_encoder)(\.|$))",
          eat.PLAIN,
        ),
      ),
    ),
  ),
  ignore=(),
  refuse=((r"(.*\.)?(pre_norm|decoder|_ema)(\..*)?", "an EAT or SSLAM model"),),
)


class Fisher(eat.Eat):
  """EAT's network on a sub-band of 100 bins, six patches a time patch.

  The table of positions was made for 50 patches a time patch, and its first
  rows are given to the tokens in order: token (t, f) has the code of the cell
  `divmod(6 t + f, 50)` and not its own. That looks like an oversight; the
  published weights were trained with it, so it is kept.

  Source: [FISHER25].
  """

  columns: ClassVar[int] = 50


def _check_kind(model: Mapping[str, Any]) -> None:
  """Refuses the training settings of another kind of network."""
  if model and "band_width" not in model:
    raise errors.InputError(
      "found an EAT or SSLAM encoder, expected FISHER weights."
    )
  image = model.get("modalities")
  image = image.get("image") if isinstance(image, Mapping) else None
  image = image if isinstance(image, Mapping) else {}
  for found, name, wanted in (
    (model, "band_width", _BAND_WIDTH),
    (image, "band_width", _BAND_WIDTH),
    (image, "flatten", "freq"),
  ):
    if (value := found.get(name, wanted)) != wanted:
      raise errors.InputError(
        f"found {name}={str(value)[:50]!r} in the configuration of the file,"
        f" expected {wanted!r}."
      )


def sizes_from(
  tensors: Mapping[str, np.ndarray], beside: Mapping[str, Any]
) -> dict[str, Any]:
  """Reads the size of a network from its weights.

  Args:
    tensors: arrays by official name.
    beside: the other entries of the file.

  Returns:
    Settings of `Fisher`; `num_heads` is None if nothing tells it.

  Raises:
    InputError: for a network of another kind.
  """
  model = eat.model_of(beside)
  _check_kind(model)
  # Two published widths are inferred: another one has heads of that width too.
  heads = lambda width: None if width % _HEAD else width // _HEAD
  return eat.read_sizes(tensors, model, known=SIZES, base="small", heads=heads)


FAMILY = eat.FAMILY._replace(
  name="fisher",
  title="FISHER",
  network=Fisher,
  sizes=SIZES,
  input=family.Input(
    num_mels=_BAND_WIDTH,
    patch=_PATCH,
    num_extra=1,
    max_frames=lambda s: s["num_positions"] // _NUM_BANDS * _PATCH[0],
    sample_rate=None,
    in_parts=True,
  ),
  names=NAMES,
  sizes_from=sizes_from,
  sources=tuple(
    family.Source(
      f"FISHER-{size}",
      size,
      (family.HUB_FILE,),
      f"jiangab/FISHER-{size}-0723",
      "`.pt` files through the README of `jianganbai/FISHER`",
      "MIT (hub card, by a third party's account)",
    )
    for size in ("tiny", "mini", "small")
  ),
)
