"""Noise-aware rows of the zoo: a frozen encoder and its trained layers."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.encoders import (
  beats,
  dasheng,
  eat,
  family,
  noise_aware,
  noise_aware_files,
  transformer,
)
from asd_jax.typing import Array, Key
from asd_jax.weights import rules, sizes
from asd_jax.weights.rules import Rule

Tree = Any
HEADS = noise_aware_files.HEADS


class _Network:
  """An encoder with layers behind its blocks, as `family.make` takes one.

  Its parameters are `base`, those of the encoder, and `layers`. Fields are
  those of the encoder, then `layer_heads`, `layer_hidden`, `kind`,
  `gradient_decay`, see `noise_aware.decayed`, and `dropout`, see
  `noise_aware.CrossAttention`.
  """

  base: family.Family
  gradient_decay: float
  remat: bool

  def parts(self) -> tuple[nn.Module, nn.Module, noise_aware.Layers]:
    """The encoder, the same with blocks computed again, and the layers."""
    own = {name: getattr(self, name) for name in _fields(type(self))}
    heads, hidden = own.pop("layer_heads"), own.pop("layer_hidden")
    kind, remat, dtype = own.pop("kind"), own.pop("remat"), own.pop("dtype")
    dropout = own.pop("dropout")
    del own["gradient_decay"]
    plain = self.base.network(**own, dtype=dtype)
    again = self.base.network(**own, dtype=dtype, remat=remat)
    layers = noise_aware.Layers(
      own["depth"], kind, heads, hidden, dtype, dropout
    )
    return plain, again, layers

  def init(self, key: Key, x: Array) -> Tree:
    """Parameters, the layers of which change nothing."""
    plain, _, layers = self.parts()
    first, second = jax.random.split(key)
    channel = x if x.ndim == 2 else x[0]
    params = plain.init(first, channel)["params"]
    out = plain.apply({"params": params}, channel)
    rows = out["layer_0"]  # pyrefly: ignore
    return {
      "params": {
        "base": params,
        "layers": layers.init(second, rows, rows)["params"],
      }
    }

  def apply(
    self, variables: Tree, x: Array, *, rngs: dict[str, Key] | None = None
  ) -> Any:
    """Maps near and far `[2, frames, M]` to `[2, L, D]` by layer name.

    The second row are the far tokens, as the encoder alone makes them. A kind
    without far tokens maps `[frames, M]` to `[L, D]`. Keys are for training.
    """
    plain, again, layers = self.parts()
    params = variables["params"]

    def hear(network: nn.Module) -> Callable[[Array], Any]:
      return lambda y: network.apply({"params": params["base"]}, y)

    def one(i: int, near: Array, far: Array | None) -> Any:
      if self.gradient_decay != 1.0:
        near = noise_aware.decayed(near, self.gradient_decay)
      run = lambda own, near, far: layers.apply(
        {"params": {f"layers_{i}": own}}, i, near, far, method="one", rngs=rngs
      )
      if self.remat:
        run = jax.checkpoint(run)
      return run(params["layers"][f"layers_{i}"], near, far)

    if x.ndim == 2:
      with noise_aware.after_blocks(lambda i, y: one(i, y, None)):
        return hear(again)(x)
    streams = noise_aware.two_streams(hear(plain), hear(again), one, x[0], x[1])
    return jax.tree.map(lambda *rows: jnp.stack(rows), *streams)


def _fields(kind: Any) -> list[str]:
  """Names of the fields of a dataclass."""
  return [f.name for f in dataclasses.fields(kind)]


def _network(base: family.Family) -> type:
  """The class of an encoder's noise-aware network."""
  names = _fields(base.network)
  own = [(name, int) for name in names[: names.index("dtype")]]
  more = [
    ("layer_heads", int),
    ("layer_hidden", int),
    ("kind", str),
    ("dtype", Any, dataclasses.field(default=jnp.float32)),
    ("remat", bool, dataclasses.field(default=False)),
    ("gradient_decay", float, dataclasses.field(default=1.0)),
    ("dropout", float, dataclasses.field(default=0.0)),
  ]
  return dataclasses.make_dataclass(
    f"NoiseAware{base.network.__name__}",
    [*own, *more],
    bases=(_Network,),
    namespace={"__module__": __name__, "base": base},
    frozen=True,
  )


# Where files of each kind name the layers.
_KEYS = {
  "cross_attention": ("fusion_layers", ("norm_q", "norm_kv", "norm_ffn")),
  "film": ("fusion_layers", ("norm_x", "norm_n_ref", "norm_ffn")),
  "self_attention": ("additional_layers", ("norm", "norm_ffn")),
}


def _layer_rules(kind: str) -> tuple[Rule, ...]:
  """Rules of the layers' weights; q, k and v are named one by one."""
  key, norms = _KEYS[kind]
  lead, place = rf"(?:encoder\.)?{key}\.(\d+)\.", r"layers/layers_\1/"
  out = [
    Rule(lead + rf"({'|'.join(norms)})\.weight", place + r"\2/scale"),
    *transformer.linear_rules(
      lead + r"ffn\.(gate_proj|up_proj|down_proj)", place + r"ffn/\2"
    ),
  ]
  if kind == "film":
    film = lead + r"film\.to_gamma_beta"
    out += transformer.linear_rules(film, place + "film")
  else:
    attention = lead + r"attention\.((?:[qkv]|out)_proj)"
    out += transformer.linear_rules(attention, place + r"attention/\2")
  return tuple(out)


def _based(
  base: family.Family,
  kind: str,
  prefix: str,
  renames: tuple[tuple[str, str], ...],
) -> tuple[rules.Names, tuple[Rule, ...]]:
  """Names and rules of both parts, the encoder's behind a prefix."""
  key, norms = _KEYS[kind]
  mark = rf"(encoder\.)?{key}\.0\.{norms[0]}\.weight"
  # What stands before the layers' names is all that tells two encoders' apart.
  other = rf"{key}\..*" if base is beats.FAMILY else rf"encoder\.{key}\..*"
  lead = prefix.replace(".", r"\.")
  own = [Rule(lead + r.pattern, f"base/{r.path}", r.kind) for r in base.rules]
  stack = rf"((?:encoder\.)?{key}\.\d+\.attention)\.in_proj_(weight|bias)"
  parts = tuple(rf"\1.{n}_proj.\2" for n in "qkv")
  names = rules.Names(
    mark=mark,
    look=mark,
    layouts=(rules.Layout(mark, renames),),
    refuse=((other, "the layers of another noise-aware encoder"),),
    ignore=(r"teacher_model\..*", *(lead + p for p in base.names.ignore)),
    tied=tuple((lead + c, prefix + kept) for c, kept in base.names.tied),
    stacked=((stack, parts),),
  )
  return names, (*own, *_layer_rules(kind))


def of(
  base: family.Family,
  *,
  name: str,
  kind: str = "cross_attention",
  prefix: str = "",
  renames: tuple[tuple[str, str], ...] = (),
  sources: tuple[family.Source, ...] = (),
) -> family.Family:
  """The noise-aware family of an encoder.

  Args:
    base: of the frozen encoder.
    name: of the new family.
    kind: of its layers, key of `noise_aware.LAYERS`.
    prefix: what stands before the encoder's own names in files with both.
    renames: brings those to the names that the encoder's rules know.
    sources: published layers.

  Returns:
    The family. Its networks take near and far together, but for the kind
    `self_attention`.
  """
  names, both = _based(base, kind, prefix, renames)
  # FiLM's layers are as wide as the encoder's own, the others' three times D.
  wide = 4 if kind == "film" else 3

  def sizes_from(
    tensors: Mapping[str, np.ndarray], beside: Mapping[str, Any]
  ) -> dict[str, Any]:
    layer = rf"(?:encoder\.)?{_KEYS[kind][0]}\.(\d+)\."
    ours = {n: t for n, t in tensors.items() if re.match(layer, n)}
    own = {
      n.removeprefix(prefix): t
      for n, t in tensors.items()
      if n.startswith(prefix) and n not in ours
    }
    found = base.sizes_from(own, beside)
    # Of layers alone, the encoder inside has its file's.
    if not any(re.fullmatch(p, n) for p in blocks for n in tensors):
      depth = sizes.count_blocks(ours, layer, default=found["depth"])
      width = _length(ours, _NORM, default=found["width"])
      found |= dict(width=width, depth=depth)
    width = found["width"]
    says = noise_aware_files.told(beside, width)
    return {
      **found,
      "layer_heads": says.num_heads or HEADS,
      "layer_hidden": _length(ours, _GATE, default=wide * width),
      "kind": kind,
    }

  def check(settings: Mapping[str, Any]) -> None:
    base.check({k: v for k, v in settings.items() if k in base_fields})
    noise_aware_files.check_heads(settings)

  base_fields = {*next(iter(base.sizes.values()))}
  blocks = [r.pattern for r in both if r.path.startswith("base/blocks")]
  more = lambda s: dict(
    layer_heads=HEADS, layer_hidden=wide * s["width"], kind=kind
  )
  return base._replace(
    name=name,
    title=f"noise-aware {base.title}",
    network=_network(base),
    sizes={
      size: {**s, **more(s)}
      for size, s in base.sizes.items()
      if size in ("base", sizes.SMOKE)
    },
    input=base.input._replace(joint=kind != "self_attention"),
    names=names,
    rules=both,
    sizes_from=sizes_from,
    sources=sources,
    check=check,
    fixed=tuple(f"base/{place}" for place in base.fixed),
    inner=base,
  )


_GATE, _NORM = ".ffn.gate_proj.bias", ".norm_ffn.weight"


def _length(
  tensors: Mapping[str, np.ndarray], end: str, *, default: int
) -> int:
  """Length of the first vector whose name ends so."""
  found = (t for n, t in tensors.items() if n.endswith(end) and t.ndim == 1)
  vector = next(found, None)
  return default if vector is None else len(vector) or default


_LICENCE = "AGPL-3.0-or-later (code and weights)"
_WHERE = (
  "releases of `merlresearch/noise-aware-audio-ssl`, tag `v1.0.0`; the"
  " encoder's own file is needed beside it"
)


def _published(title: str, *stems: str) -> tuple[family.Source, ...]:
  """Sources of files `STEM.ckpt`, one a training."""
  return (
    family.Source(
      title,
      "base",
      tuple(f"{stem}.ckpt" for stem in stems),
      "",
      _WHERE,
      _LICENCE,
    ),
  )


def _seeds(stem: str) -> tuple[str, ...]:
  return tuple(f"{stem}_seed{i}" for i in range(3))


NA_BEATS = of(
  beats.FAMILY,
  name="na_beats",
  sources=(
    *_published("NA-BEATs", *_seeds("dcase2026_nabeats")),
    *_published("NA-BEATs, first recipe", "iwaenc2026_nabeats_ca_seed0"),
  ),
)
NA_EAT = of(
  eat.FAMILY,
  name="na_eat",
  prefix="org_model.",
  # The hub's names, see `eat.NAMES`.
  renames=(
    (
      r"org_model\.pre_norm\.",
      f"org_model.{eat.PLAIN}context_encoder.norm.",
    ),
    (r"org_model\.(?=(blocks|fc_norm|head)\.)", "org_model."),
    (r"org_model\.", f"org_model.{eat.PLAIN}"),
  ),
  sources=_published("NA-EAT", *_seeds("dcase2026_naeat")),
)
NA_DASHENG = of(
  dasheng.FAMILY,
  name="na_dasheng",
  prefix="org_model.",
  sources=_published("NA-DaSheng", *_seeds("dcase2026_nadasheng")),
)
FILM_BEATS = of(
  beats.FAMILY,
  name="film_beats",
  kind="film",
  sources=_published("NA-BEATs with FiLM", "iwaenc2026_nabeats_film_seed0"),
)
D_BEATS = of(
  beats.FAMILY,
  name="d_beats",
  kind="self_attention",
  sources=_published("D-BEATs", "iwaenc2026_dbeats_seed0"),
)
