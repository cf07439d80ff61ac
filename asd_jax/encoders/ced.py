"""CED: four bands by 160 ms a patch, positions of time and band added.

The network is DaSheng's with other patches; both name their weights alike.
"""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

from asd_jax.encoders import dasheng, family
from asd_jax.weights import rules

_PATCH = (16, 16)
_NUM_BANDS = 4
# Four frames of a group fill no patch.
_POSITIONS = dict(num_positions=63, target_frames=1012)
SIZES = {
  "tiny": dict(width=192, depth=12, num_heads=3, hidden=768, **_POSITIONS),
  "mini": dict(width=256, depth=12, num_heads=4, hidden=1024, **_POSITIONS),
  "small": dict(width=384, depth=12, num_heads=6, hidden=1536, **_POSITIONS),
  "base": dict(width=768, depth=12, num_heads=12, hidden=3072, **_POSITIONS),
  "smoke": dict(width=48, depth=2, num_heads=4, hidden=96, **_POSITIONS),
}
NAMES = rules.Names(
  mark=r"(time|freq)_pos_embed",
  look=dasheng.NAMES.look,
  layouts=(
    rules.Layout(
      r"encoder\.(time|freq)_pos_embed",
      # The hub's files lack the index of the norm, DaSheng's there have it.
      (
        (r"encoder\.init_bn\.(?!\d+\.)", "init_bn.1."),
        (r"encoder\.", ""),
      ),
    ),
  ),
  ignore=(
    r"front_end\..*",
    r"init_bn\.1\.num_batches_tracked",
    r"outputlayer\..*",
  ),
)


class Ced(dasheng.Dasheng):
  """DaSheng's network on patches of 16 frames and 16 bands.

  The published code splits clips of more than 1012 frames for its class
  probabilities only, and leaves out the last group of a clip that is an exact
  multiple of it; here no group is left out, and of the last one the patches
  within the clip are kept.

  Source: [CED24].
  """

  patch: ClassVar[tuple[int, int]] = _PATCH
  fills: ClassVar[bool] = True


def _grid(settings: Mapping[str, Any], num_frames: int) -> tuple[int, int]:
  """Patches over time, in groups, and over frequency."""
  frames = settings["target_frames"]
  groups, rest = divmod(num_frames, frames)
  return groups * (frames // _PATCH[0]) + rest // _PATCH[0], _NUM_BANDS


_ABOUT = dict(title="CED", patch=_PATCH)
sizes_from = functools.partial(dasheng.read_sizes, known=SIZES, **_ABOUT)
FAMILY = dasheng.FAMILY._replace(
  name="ced",
  title="CED",
  network=Ced,
  sizes=SIZES,
  input=family.Input(
    num_mels=dasheng.FAMILY.input.num_mels, patch=_PATCH, grid=_grid
  ),
  names=NAMES,
  sizes_from=sizes_from,
  check=functools.partial(dasheng.check_groups, **_ABOUT),
  # [LUDO26] takes the final norm of every block's output.
  more_layers=lambda s: tuple(f"normed_{i + 1}" for i in range(s["depth"])),
  sources=tuple(
    family.Source(
      f"CED-{size}",
      size,
      (family.HUB_FILE, f"audiotransformer_{size}_mAP_{score}.pt"),
      f"mispeech/ced-{size}",
      f"`.pt` file: Zenodo record {record}",
      "Apache-2.0 (hub card; that of the Zenodo record not checked)",
    )
    for size, score, record in (
      ("tiny", 4814, 8275347),
      ("mini", 4896, 8275347),
      ("small", 4958, 8275319),
      ("base", 4999, 8275347),
    )
  ),
)
