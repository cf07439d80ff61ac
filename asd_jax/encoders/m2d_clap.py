"""M2D-CLAP: a ViT on log-mel chunks, with the projector of its year.

The networks of 2024 and 2025 differ in the length of a chunk and in what makes
one vector of a clip, which is compared with texts. Both have the projector
here, so that all of a file is used, as the layer `clap`; anomaly detection
takes the tokens.
"""

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.encoders import family, transformer
from asd_jax.typing import Array
from asd_jax.weights import rules, sizes
from asd_jax.weights.rules import Rule

_NUM_MELS, _PATCH = 80, (16, 16)
_NUM_BANDS = _NUM_MELS // _PATCH[1]
_BASE = dict(width=768, depth=12, num_heads=12, hidden=3072)
_LONG = dict(num_positions=62, num_frames=1001)
_SHORT = dict(num_positions=38, num_frames=608)
SIZES = {
  "2025": dict(**_BASE, **_LONG, projector="2025"),
  "2024": dict(**_BASE, **_SHORT, projector="2024"),
  "2024_finetuned": dict(**_BASE, **_LONG, projector="none"),
  "smoke": dict(
    width=48, depth=2, num_heads=4, hidden=96, **_LONG, projector="2025"
  ),
}
# Mean and standard deviation of log-mel bands where a file has none.
_STATISTICS = (-7.1, 4.2)
_FINETUNED = r"module\.ar\.runtime\.backbone\."
NAMES = rules.Names(
  mark=r"norm_stats|audio_proj\..*",
  look=r"(.*\.)?(norm_stats|audio_proj\..*)",
  layouts=(
    # What is not under it belongs to the text encoder and to training.
    rules.Layout(r"backbone\..*", ((r"backbone\.", ""), (r"", "beside."))),
    rules.Layout(_FINETUNED + ".*", ((_FINETUNED, ""),)),
  ),
  ignore=(
    r"beside\..*",
    r"mask_token",
    r"logit_scale",
    r"decoder_(pos_embed|(embed|blocks|norm|pred)\..*)",
    # The teacher's copy, of the same shapes.
    r"target_(blocks|norm)\..*",
    r"(module\.ar\.runtime\.)?to_spec\..*",
    r"module\.head\..*",
  ),
  absent=(("norm_stats", _STATISTICS),),
)
_SEMANTIC = r"audio_proj\.sem_blocks\.0\."
RULES = (
  Rule(r"cls_token", "cls"),
  Rule(r"pos_embed", "positions"),
  Rule(r"norm_stats", "norm_stats"),
  Rule(r"patch_embed\.proj\.weight", "patch_embed/kernel", "conv_2d"),
  Rule(r"patch_embed\.proj\.bias", "patch_embed/bias"),
  *transformer.BLOCK_RULES,
  *transformer.norm_rules("norm", "norm"),
  Rule(r"audio_proj\.sem_token", "projector/token"),
  *transformer.linear_rules(
    _SEMANTIC + r"(attn|mlp)\.(\w+)", r"projector/block/\1/\2"
  ),
  *transformer.norm_rules(_SEMANTIC + r"(norm\d)", r"projector/block/\1"),
  *transformer.norm_rules(r"audio_proj\.norm", "projector/norm"),
  *transformer.linear_rules(r"audio_proj\.0", "projector/fc1"),
  *transformer.linear_rules(r"audio_proj\.2", "projector/fc2"),
)


class SemanticProjector(nn.Module):
  """Patch tokens to the vector of 2025: a token more, through one block.

  Attributes:
    dtype: of the matrix products.
  """

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens: Array) -> Array:
    """Maps `[L, D]` to `[1, D]`, of any length."""
    width, epsilon = tokens.shape[-1], 1e-5
    small = nn.initializers.normal(0.02)
    token = self.param("token", small, (1, 1, width))
    # One head, and an MLP that is no wider than the stream.
    block = transformer.PreNormBlock(
      1, width, self.dtype, epsilon, name="block"
    )
    x = block(jnp.concatenate([token[0], tokens]))
    return transformer.layer_norm(epsilon, "norm")(x[:1])


class MlpProjector(nn.Module):
  """Patch tokens to the vector of 2024: two linear layers on their mean.

  Attributes:
    dtype: of the matrix products.
  """

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens: Array) -> Array:
    """Maps `[L, D]` to `[1, D]`."""
    width = tokens.shape[-1]
    x = jnp.mean(tokens, axis=0, keepdims=True)
    x = jax.nn.relu(nn.Dense(width, dtype=self.dtype, name="fc1")(x))
    return nn.Dense(width, dtype=self.dtype, name="fc2")(x)


PROJECTORS: dict[str, type[nn.Module] | None] = {
  "2025": SemanticProjector,
  "2024": MlpProjector,
  "none": None,
}


class M2dClap(nn.Module):
  """Chunks of patches with a CLS token through pre-norm blocks and a norm.

  Attributes:
    width: D.
    depth: blocks.
    num_heads: heads.
    hidden: width of the MLPs.
    num_positions: time patches of the position table.
    num_frames: frames of a chunk. Chunks do not see each other, and each
      starts at the first position; no file tells it beyond whole patches.
    projector: key of `PROJECTORS`: the year, or "none".
    dtype: of the matrix products.
    remat: see `transformer.recomputed`.

  Source: [M2DCLAP24], [M2DCLAP25].
  """

  width: int
  depth: int
  num_heads: int
  hidden: int
  num_positions: int
  num_frames: int
  projector: str
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, mel: Array) -> dict[str, Array]:
    """Maps `[frames, 80]` natural logarithms to `[1 + L, D]` by layer name.

    CLS comes first: of several chunks the mean of theirs, of which the
    published code, that drops them, has no notion. Token `5 t + f` of the
    patches is time patch `t`, band `f`. `normed_i` is the final norm of what
    leaves block i, as the Residual View systems take it, and `output` that of
    the last; `clap` `[1, D]` is the vector of the clip. Beside the layers there
    are `normalised` `[frames, 80]`, filled, and `patch_embed` `[L, D]`.
    """
    x = self._normalised(mel)
    out = {"normalised": x}
    embed = transformer.PatchEmbed(
      self.width, _PATCH, dtype=self.dtype, name="patch_embed"
    )
    size = self.num_frames or self.num_positions * _PATCH[0]
    # Counted before the filling, which may run into a chunk of its own.
    starts = range(0, len(mel), size)
    # The official kernel has bands first.
    patches = [embed(x[i : i + size].T) for i in starts]  # [F, T, D] each
    patches = [p.transpose(1, 0, 2) for p in patches]
    rows = [p.reshape(-1, self.width) for p in patches]
    out["patch_embed"] = jnp.concatenate(rows)
    chunks = self._with_positions(patches)
    out["layer_0"] = _joined(chunks)
    norm = transformer.layer_norm(1e-6, "norm")
    kind = transformer.recomputed(transformer.PreNormBlock, self.remat)
    for i in range(1, self.depth + 1):
      block = kind(
        self.num_heads, self.hidden, self.dtype, name=f"blocks_{i - 1}"
      )
      chunks = [block(chunk) for chunk in chunks]
      out[f"layer_{i}"] = _joined(chunks)
      out[f"normed_{i}"] = _joined([norm(chunk) for chunk in chunks])
    out["output"] = out[f"normed_{self.depth}"]
    if projector := PROJECTORS[self.projector]:
      vector = projector(self.dtype, name="projector")(out["output"][1:])
      out["clap"] = vector.astype(jnp.float32)
    return out

  def _normalised(self, mel: Array) -> Array:
    """Bands by the file's statistics; zeros fill the last patch after that."""
    init = lambda key: jnp.array(_STATISTICS, jnp.float32)
    mean, deviation = self.param("norm_stats", init)
    x = (mel - mean) / deviation
    size = self.num_frames or self.num_positions * _PATCH[0]
    fill = -(len(x) % size) % _PATCH[0]
    return jnp.pad(x, [(0, fill), (0, 0)])

  def _with_positions(self, patches: list[Array]) -> list[Array]:
    """Chunks `[T, F, D]` to `[1 + T * F, D]`, CLS first."""
    shape = (self.num_positions, self.width)
    init = lambda key: sincos_positions(*shape)[None]
    table = self.param("positions", init)[0]
    small = nn.initializers.normal(0.02)
    cls = self.param("cls", small, (1, 1, self.width))[0] + table[:1]
    # The table goes through the bands, and in each through time.
    grid = table[1:].reshape(_NUM_BANDS, *shape).transpose(1, 0, 2)
    placed = [p + grid[: len(p)] for p in patches]
    return [jnp.concatenate([cls, p.reshape(-1, self.width)]) for p in placed]


def sincos_positions(num_positions: int, width: int) -> np.ndarray:
  """Position table of the published files: CLS, then band by band.

  Args:
    num_positions: time patches.
    width: D, a multiple of 4.

  Returns:
    `[1 + 5 * num_positions, D]` float32: zeros of CLS, then sine and cosine of
    the time patch and of the band.
  """
  num = _NUM_BANDS * num_positions
  grid = transformer.sincos_positions(num, width, num_positions)
  return np.pad(grid, [(1, 0), (0, 0)])


def _joined(chunks: list[Array]) -> Array:
  """Chunks `[1 + L, D]` one after the other, the mean of their CLS first."""
  cls = jnp.mean(jnp.stack([c[:1] for c in chunks]), axis=0)
  return jnp.concatenate([cls, *(c[1:] for c in chunks)])


def _grid(settings: Mapping[str, Any], num_frames: int) -> tuple[int, int]:
  """Patches of all chunks; the last one is filled, the others are cut."""
  whole, rest = divmod(num_frames, settings["num_frames"])
  most = settings["num_positions"]
  return whole * most + min(-(-rest // _PATCH[0]), most), _NUM_BANDS


def _check(settings: Mapping[str, Any]) -> None:
  """Refuses unknown projectors, and chunks unlike the position table."""
  if (found := settings["projector"]) not in PROJECTORS:
    raise errors.InputError(
      f"M2D-CLAP: found projector {found!r}, expected one of {[*PROJECTORS]}."
    )
  frames, num = settings["num_frames"], settings["num_positions"]
  if frames // _PATCH[0] != num:
    raise errors.InputError(
      f"M2D-CLAP: found num_frames {frames}, expected {num * _PATCH[0]} to"
      f" {num * _PATCH[0] + _PATCH[0] - 1} (the position table)."
    )


def sizes_from(
  tensors: Mapping[str, np.ndarray], beside: Mapping[str, Any]
) -> dict[str, Any]:
  """Reads the size of a network from its weights.

  Args:
    tensors: arrays by official name.
    beside: the other entries of the file, which tell nothing: the published
      code reads the settings off the name of the folder.

  Returns:
    Settings of `M2dClap`; `num_heads` and `num_frames` are None where no size
    of that width, or position table, is published.
  """
  found = sizes.of_vit(tensors, SIZES, base="2025")
  rows = 1 + _NUM_BANDS * SIZES["2025"]["num_positions"]
  table = sizes.shape_of(
    tensors, "pos_embed", default=(1, rows, found["width"])
  )
  num = (table[1] - 1) // _NUM_BANDS
  frames = {s["num_positions"]: s["num_frames"] for s in SIZES.values()}
  named = [n for n in tensors if n.startswith("audio_proj.")]
  old = any(re.match(r"audio_proj\.\d", name) for name in named)
  return {
    **found,
    "num_positions": num,
    "num_frames": frames.get(num),
    "projector": "2024" if old else "2025" if named else "none",
  }


def _more_layers(settings: Mapping[str, Any]) -> tuple[str, ...]:
  normed = [f"normed_{i + 1}" for i in range(settings["depth"])]
  return (*normed, *["clap"] * (settings["projector"] != "none"))


def _source(year: str, size: str, folder: str, file: str, release: str):
  return family.Source(
    f"M2D-CLAP {year}",
    size,
    (f"m2d_clap_vit_base-80x{folder}/{file}",),
    "",
    f"zip of release {release} of `nttcslab/m2d`",
    "NTT evaluation agreement: internal testing and evaluation only",
  )


FAMILY = family.Family(
  name="m2d_clap",
  title="M2D-CLAP",
  network=M2dClap,
  sizes=SIZES,
  input=family.Input(
    num_mels=_NUM_MELS, patch=_PATCH, num_extra=1, min_frames=1, grid=_grid
  ),
  names=NAMES,
  rules=RULES,
  sizes_from=sizes_from,
  check=_check,
  more_layers=_more_layers,
  fixed=("positions", "norm_stats"),
  sources=(
    _source(
      "2025", "2025", "1001p16x16p16kpBpTI-2025", "checkpoint-30.pth", "v0.5.0"
    ),
    _source("2024", "2024", "608p16x16-240128", "checkpoint-300.pth", "v0.1.0"),
    _source(
      "2024 fine-tuned on AudioSet",
      "2024_finetuned",
      "1001p16x16-240128_AS-FT_enconly",
      "weights_*.pth",
      "v0.3.0",
    ),
  ),
)
