"""AudioMAE: a plain ViT on 10 s of Kaldi bands, pre-trained and fine-tuned.

Sixty-four time patches by eight bands, CLS first. The fine-tuned files are a
family of their own: they have no final norm, and another one after pooling.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from asd_jax.encoders import family, transformer
from asd_jax.typing import Array
from asd_jax.weights import rules, sizes
from asd_jax.weights.rules import Rule

_NUM_MELS, _PATCH = 128, (16, 16)
_NUM_BANDS = _NUM_MELS // _PATCH[1]
SIZES = {
  "base": dict(
    width=768, depth=12, num_heads=12, hidden=3072, num_positions=513
  ),
  "smoke": dict(width=48, depth=2, num_heads=4, hidden=96, num_positions=513),
}
# Pre-training has a decoder, of several kinds; features need none of them.
_DECODER = (r"mask_token", r"decoder.*")
# Networks with nearly all names of AudioMAE, and these.
_OTHERS = (
  (r"logit_scale|norm_stats", "M2D or M2D-CLAP weights"),
  (r"blocks\.\d+\.ffn2\..*", "AudioMAE++ weights"),
)
_FC_NORM = r"fc_norm\.(weight|bias)"
NAMES = rules.Names(
  mark=r"pos_embed",
  look=r"(.*\.)?pos_embed",
  ignore=_DECODER,
  refuse=(
    *_OTHERS,
    (
      _FC_NORM,
      "fine-tuned AudioMAE weights without a norm, which the family"
      " audiomae_finetuned takes",
    ),
  ),
)
_RULES = (
  Rule(r"cls_token", "cls"),
  Rule(r"pos_embed", "positions"),
  Rule(r"patch_embed\.proj\.weight", "patch_embed/kernel", "conv_2d"),
  Rule(r"patch_embed\.proj\.bias", "patch_embed/bias"),
  *transformer.BLOCK_RULES,
)


def sincos_positions(num_rows: int, width: int) -> np.ndarray:
  """Position table that the training code generates; weights bring their own.

  It is the table of a grid of 8 rows, though the tokens that it is added to
  are gone through in rows of 8: row `8 t + f` does not stand for time patch
  `t` and band `f`. The weights were trained with it so.

  Args:
    num_rows: rows, the first one, of CLS, with zeros.
    width: D, a multiple of 4.

  Returns:
    `[num_rows, D]` float32.

  Source: [AudioMAE22], its published code.
  """
  num = num_rows - 1
  grid = transformer.sincos_positions(num, width, num // _NUM_BANDS or 1)
  return np.pad(grid, [(1, 0), (0, 0)])


class AudioMae(nn.Module):
  """Patches with a CLS token through pre-norm blocks and a norm.

  Attributes:
    width: D.
    depth: blocks.
    num_heads: heads.
    hidden: width of the MLPs.
    num_positions: rows of the position table: CLS and all patches. The
      published code takes just as many patches; fewer have the first rows.
    dtype: of the matrix products.
    remat: see `transformer.recomputed`.
    num_contextual: blocks whose normalised outputs `contextual` averages.

  Source: [AudioMAE22].
  """

  width: int
  depth: int
  num_heads: int
  hidden: int
  num_positions: int
  dtype: Any = jnp.float32
  remat: bool = False
  num_contextual: int = 3

  @nn.compact
  def __call__(self, fbank: Array) -> dict[str, Array]:
    """Maps `[frames, 128]` to `[1 + L, D]` by layer name, CLS first.

    `patch_embed` `[L, D]` are the patches before positions. Token `8 t + f`
    of the patches is time patch `t`, band `f`. The last layer comes before the
    norm, `output` after it; `contextual` is what the training code calls the
    encoder's output.
    """
    out = self._through_blocks(fbank)
    norm = transformer.layer_norm(1e-6, "norm")
    last = range(max(0, self.depth - self.num_contextual), self.depth)
    normed = [norm(out[f"layer_{i + 1}"]) for i in last]
    return {
      **out,
      "output": normed[-1],
      "contextual": jnp.mean(jnp.stack(normed), axis=0),
    }

  def _through_blocks(self, fbank: Array) -> dict[str, Array]:
    """All but what comes after the last block."""
    table = (self.num_positions, self.width)
    init = lambda key: sincos_positions(*table)[None]
    positions = self.param("positions", init)[0]
    small = nn.initializers.normal(0.02)
    cls = self.param("cls", small, (1, 1, self.width))[0]
    embed = transformer.PatchEmbed(
      self.width, _PATCH, dtype=self.dtype, name="patch_embed"
    )
    x = embed(fbank).reshape(-1, self.width)  # [L, D]
    out = {"patch_embed": x}
    # CLS has a row of its own, which a file may have filled.
    x = jnp.concatenate([cls, x]) + positions[: 1 + len(x)]
    out["layer_0"] = x
    kind = transformer.recomputed(transformer.PreNormBlock, self.remat)
    for i in range(self.depth):
      block = kind(self.num_heads, self.hidden, self.dtype, name=f"blocks_{i}")
      x = out[f"layer_{i + 1}"] = block(x)
    return out


class FineTuned(AudioMae):
  """The fine-tuned network, whose norm comes after the mean of all patches.

  `output` is the last block's, without a norm; `pooled`, a vector of the clip,
  is the normalised mean of its patches, which the classifier was trained on.

  Source: [AudioMAE22].
  """

  @nn.compact
  def __call__(self, fbank: Array) -> dict[str, Array]:
    """Maps `[frames, 128]` to `[1 + L, D]` by layer name."""
    out = self._through_blocks(fbank)
    last = out[f"layer_{self.depth}"]
    norm = transformer.layer_norm(1e-6, "fc_norm")
    pooled = norm(jnp.mean(last[1:], axis=0, keepdims=True))
    return {**out, "output": last, "pooled": pooled}


def sizes_from(
  tensors: Mapping[str, np.ndarray], beside: Mapping[str, Any]
) -> dict[str, Any]:
  """Reads the size of a network from its weights.

  Args:
    tensors: arrays by official name.
    beside: the other entries of the file, which tell nothing.

  Returns:
    Settings of `AudioMae`; `num_heads` is None for a width that is not
    published.
  """
  found = sizes.of_vit(tensors, SIZES)
  table = (1, SIZES["base"]["num_positions"], found["width"])
  rows = sizes.shape_of(tensors, "pos_embed", default=table)[1]
  return {**found, "num_positions": rows}


_HUB = "gaunernst/vit_base_patch16_1024_128.audiomae_as2m"
_LINKS = "Google Drive links in the README of `facebookresearch/AudioMAE`"
_LICENCE = "CC BY-NC 4.0 (LICENSE file; the README says CC BY 4.0)"
FAMILY = family.Family(
  name="audiomae",
  title="AudioMAE",
  network=AudioMae,
  sizes=SIZES,
  input=family.Input(
    num_mels=_NUM_MELS,
    patch=_PATCH,
    num_extra=1,
    max_frames=lambda s: (s["num_positions"] - 1) // _NUM_BANDS * _PATCH[0],
  ),
  names=NAMES,
  rules=(*_RULES, *transformer.norm_rules("norm", "norm")),
  sizes_from=sizes_from,
  more_layers=lambda settings: ("contextual",),
  fixed=("positions",),
  sources=(
    family.Source(
      "AudioMAE",
      "base",
      ("pretrained.pth", family.HUB_FILE),
      _HUB,
      _LINKS,
      _LICENCE,
    ),
  ),
)
FINETUNED = FAMILY._replace(
  name="audiomae_finetuned",
  title="AudioMAE fine-tuned",
  network=FineTuned,
  names=NAMES._replace(
    mark=_FC_NORM,
    ignore=(*_DECODER, r"head\..*"),
    refuse=_OTHERS,
  ),
  rules=(*_RULES, *transformer.norm_rules("fc_norm", "fc_norm")),
  more_layers=lambda settings: ("pooled",),
  sources=(
    family.Source(
      "AudioMAE fine-tuned on AudioSet-2M",
      "base",
      ("finetuned.pth",),
      "",
      f"{_LINKS}; the classifier head is left out",
      _LICENCE,
    ),
    family.Source(
      "AudioMAE fine-tuned on AudioSet-20K",
      "base",
      (family.HUB_FILE,),
      f"{_HUB}_ft_as20k",
      "the classifier head is left out",
      _LICENCE,
    ),
  ),
)
