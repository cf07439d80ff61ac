"""EAT, and SSLAM, which is EAT-base with other weights.

Both name their weights alike: a file cannot tell which of the two it is.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.encoders import family, transformer
from asd_jax.typing import Array
from asd_jax.weights import rules, sizes
from asd_jax.weights.rules import Rule

# The table of positions goes through bands first, then time patches, so the
# number of bands decides how long a clip may be.
_NUM_MELS, _PATCH = 128, (16, 16)
_NUM_BANDS = _NUM_MELS // _PATCH[1]
SIZES = {
  "base": dict(
    width=768, depth=12, num_heads=12, hidden=3072, num_positions=6144
  ),
  "large": dict(
    width=1024, depth=24, num_heads=16, hidden=4096, num_positions=6144
  ),
  "smoke": dict(width=48, depth=2, num_heads=4, hidden=96, num_positions=6144),
}
_BAND = r"modality_encoders\.IMAGE\."
# The same as plain text, for replacements.
PLAIN = _BAND.replace("\\", "")
NAMES = rules.Names(
  mark=_BAND + r"fixed_positional_encoder\.positions",
  look=r"(.*\.)?fixed_positional_encoder\.positions",
  layouts=(
    # Fine-tuned training-code files have both `model.` and this name.
    rules.Layout(r"(model\.)?modality_encoders\..*", ((r"model\.", ""),)),
    rules.Layout(
      r"model\.pre_norm\..*",
      (
        (r"model\.pre_norm\.", PLAIN + "context_encoder.norm."),
        (r"model\.(?=(blocks|fc_norm|head)\.)", ""),
        (r"model\.", PLAIN),
      ),
    ),
  ),
  # The teacher's copy, the decoder of pre-training, heads of fine-tuning.
  ignore=(r"_ema", _BAND + r"decoder\..*", r"(fc_norm|head)\..*"),
)
RULES = (
  Rule(_BAND + r"extra_tokens", "cls"),
  Rule(_BAND + r"fixed_positional_encoder\.positions", "positions"),
  Rule(_BAND + r"local_encoder\.proj\.weight", "patch_embed/kernel", "conv_2d"),
  Rule(_BAND + r"local_encoder\.proj\.bias", "patch_embed/bias"),
  *transformer.norm_rules(_BAND + r"context_encoder\.norm", "input_norm"),
  *transformer.BLOCK_RULES,
)


class Eat(nn.Module):
  """Patches with a CLS token through post-norm blocks; no final norm.

  Attributes:
    width: D.
    depth: blocks.
    num_heads: heads.
    hidden: width of the MLPs.
    num_positions: rows of the position table.
    dtype: of the matrix products.
    remat: see `transformer.recomputed`.
    columns: positions a time patch that the table was made for.

  Source: [EAT24].
  """

  width: int
  depth: int
  num_heads: int
  hidden: int
  num_positions: int
  dtype: Any = jnp.float32
  remat: bool = False
  columns: ClassVar[int] = _NUM_BANDS

  @nn.compact
  def __call__(
    self, fbank: Array, *, padding: Array | None = None
  ) -> dict[str, Array]:
    """Maps `[frames, M]` to `[1 + L, D]` by layer name, CLS first.

    `patch_embed` `[L, D]` are the patches before positions. With F bands,
    token `F t + f` of the patches is time patch `t`, band `f`; the i-th token
    gets the i-th position. `padding` `[L]` is True for patches that no query
    sees.
    """
    keep = None
    if padding is not None:
      keep = jnp.concatenate([jnp.ones(1, bool), ~padding])
    init = lambda key: transformer.sincos_positions(
      self.num_positions, self.width, self.columns
    )[None]
    positions = self.param("positions", init)
    small = nn.initializers.normal(0.02)
    cls = self.param("cls", small, (1, 1, self.width))
    embed = transformer.PatchEmbed(
      self.width, _PATCH, dtype=self.dtype, name="patch_embed"
    )
    x = embed(fbank).reshape(-1, self.width)  # [L, D]
    out = {"patch_embed": x}
    x = jnp.concatenate([cls[0], x + positions[0, : len(x)]])
    x = out["layer_0"] = transformer.layer_norm(1e-6, "input_norm")(x)
    kind = transformer.recomputed(transformer.PostNormBlock, self.remat)
    for i in range(self.depth):
      block = kind(self.num_heads, self.hidden, self.dtype, name=f"blocks_{i}")
      x = out[f"layer_{i + 1}"] = block(x, keep=keep)
    out["output"] = x
    return out


def model_of(beside: Mapping[str, Any]) -> Mapping[str, Any]:
  """What the training settings of a file say of the network.

  Args:
    beside: the other entries of the file.

  Returns:
    The settings; empty if there are none.
  """
  cfg = beside.get("cfg")
  model = cfg.get("model") if isinstance(cfg, Mapping) else None
  return model if isinstance(model, Mapping) else {}


def read_sizes(
  tensors: Mapping[str, np.ndarray],
  model: Mapping[str, Any],
  *,
  known: Mapping[str, Mapping[str, Any]],
  base: str,
  heads: Callable[[int], int | None],
) -> dict[str, Any]:
  """Reads the size of a network from its weights and training settings.

  Args:
    tensors: arrays by official name.
    model: see `model_of`.
    known: settings by size.
    base: the size that stands for what the file lacks.
    heads: width to the heads that it has where nothing tells them.

  Returns:
    Settings of `Eat`; `num_heads` is None if nothing tells it.

  Raises:
    InputError: for a network of another kind.
  """
  if model.get("layer_norm_first"):
    raise errors.InputError(
      "found a network with layer_norm_first, expected norms after the sums."
    )
  found = sizes.of_vit(
    tensors, known, base=base, width=f"{PLAIN}local_encoder.proj.bias"
  )
  width = found["width"]
  table = (1, known[base]["num_positions"], width)
  name = f"{PLAIN}fixed_positional_encoder.positions"
  return {
    **found,
    "num_heads": sizes.count_in(model, "num_heads", default=heads(width)),
    "num_positions": sizes.shape_of(tensors, name, default=table)[1],
  }


def sizes_from(
  tensors: Mapping[str, np.ndarray], beside: Mapping[str, Any]
) -> dict[str, Any]:
  """Reads the size of a network from its weights.

  Args:
    tensors: arrays by official name.
    beside: the other entries of the file.

  Returns:
    Settings of `Eat`; `num_heads` is None if nothing tells it.

  Raises:
    InputError: for a network of another kind.
  """
  model = model_of(beside)
  # FISHER names its weights as EAT does; only its settings tell it.
  if "band_width" in model:
    raise errors.InputError(
      "found a FISHER encoder, expected EAT or SSLAM weights."
    )
  heads = functools.partial(sizes.heads_of, SIZES)
  return read_sizes(tensors, model, known=SIZES, base="base", heads=heads)


FAMILY = family.Family(
  name="eat",
  title="EAT",
  network=Eat,
  sizes=SIZES,
  input=family.Input(
    num_mels=_NUM_MELS,
    patch=_PATCH,
    num_extra=1,
    max_frames=lambda s: s["num_positions"] // _NUM_BANDS * _PATCH[0],
  ),
  names=NAMES,
  rules=RULES,
  sizes_from=sizes_from,
  fixed=("positions",),
  sources=tuple(
    family.Source(
      f"EAT-{size}",
      size,
      (family.HUB_FILE,),
      f"worstchan/EAT-{size}_epoch{epoch}_pretrain",
      "`.pt` files through the README of `cwx-worst-one/EAT`",
      "MIT (hub card)",
    )
    for size, epoch in (("base", 30), ("large", 20))
  ),
)
SSLAM = FAMILY._replace(
  name="sslam",
  title="SSLAM",
  sizes={size: SIZES[size] for size in ("base", "smoke")},
  sources=(
    family.Source(
      "SSLAM",
      "base",
      (family.HUB_FILE, "checkpoint_last.pt"),
      "ta012/SSLAM_pretrain",
      "`.pt` file through the README of `ta012/SSLAM`",
      "MIT (repository; hub licence field not checked)",
    ),
  ),
)
