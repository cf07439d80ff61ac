"""One branch of a system: from its settings to pure functions."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.backends import base
from asd_jax.encoders import family
from asd_jax.engine import stages
from asd_jax.engine.encode import Front, build_front
from asd_jax.engine.stages import Hypers
from asd_jax.ops import statistics
from asd_jax.training import reconstruction
from asd_jax.typing import Array

Tree = Any


class Made(flax.struct.PyTreeNode):
  """Clips made from training clips, which only add rows to the bank.

  Attributes:
    features: `[M, C, ...]`.
    clip: `[M]` int32, the training clip that each was made from.
  """

  features: Array
  clip: Array


class OverClips(NamedTuple):
  """The training clips: two ways to go through them, and their domains.

  Attributes:
    map: a function of one clip's features to `[N, ...]`, in clip order.
    fold: `((carry, features, is_target []) -> carry, first carry) -> carry`,
      one clip at a time in constant memory.
    example: features of one clip.
    is_target: `[N]` True for target-domain clips.
    num_target: how many those are, a constant of the program.
    made: clips made from these ones, or None.
  """

  map: Callable[[Callable[[Array], Array]], Array]
  fold: Callable[[Callable[[Tree, Array, Array], Tree], Tree], Tree]
  example: Array
  is_target: Array
  num_target: int
  made: Made | None = None


class Frozen(NamedTuple):
  """A branch's part in a network with published weights.

  Attributes:
    encoder: the network.
    checkpoint: where its weights are, as the config says.
    layer: name of the token sequence that is taken.
    forward: what decides the network's output for a clip, but for the weights
      themselves, as text; branches where it is equal share one pass.
    taken: what decides the features of that output, as text; "" where code of
      the user does, which no text tells.
  """

  encoder: family.Encoder
  checkpoint: str
  layer: str
  forward: str
  taken: str


class Branch(NamedTuple):
  """One path from a clip to a score; see `System` for the functions.

  Attributes:
    hypers: `{stage: {name: value}}`.
    front: what comes before the encoder.
    encoder: an encoder to train, or None.
    frozen: an encoder with published weights, or None.
    shortened: output of the front end, or token grids of a frozen encoder
      `[C', T, F, D]`, to features `[C', ...]`.
    recipe: how to train the encoder.
    reference: where training scores come from, `"loo"` or `"in_sample"`.
    fit: `(hypers, OverClips, Trained | None) -> (state, [N])`; the second
      result is the training clips' scores.
    score: `(hypers, state, features) -> []`.
    backend: `hypers -> Backend`.
    min_samples: samples that a clip must have.
    check_length: raises InputError for a number of samples that the frozen
      encoder cannot take.
  """

  hypers: Hypers
  front: Front
  encoder: family.Encoder | None
  frozen: Frozen | None
  shortened: Callable[[Array], Array]
  recipe: reconstruction.Recipe
  reference: str
  fit: Callable[..., tuple[Tree, Array]]
  score: Callable[[Hypers, Tree, Array], Array]
  backend: Callable[[Hypers], base.Backend]
  min_samples: int
  check_length: Callable[[int], None]


def _domain_moments(
  frames: Callable[[Array], Array], clips: OverClips
) -> statistics.Moments:
  """Moments of all training clips' frames, leading axis the two domains."""
  width = jax.eval_shape(frames, clips.example).shape[-1]
  none = statistics.no_moments((width, width))

  def add(total: Tree, x: Array, is_target: Array) -> Tree:
    row = is_target.astype(jnp.int32)
    here = jax.tree.map(lambda a: a[row], total)
    new = statistics.merge(here, statistics.moments(frames(x)))
    return jax.tree.map(lambda a, b: a.at[row].set(b), total, new)

  return clips.fold(add, jax.tree.map(lambda a: jnp.stack([a, a]), none))


def _make_encoder(name: str, fns: Mapping[str, Callable]) -> Any:
  try:
    return fns["encoder"]()
  except ValueError as e:
    raise errors.InputError(f"config: branch {name}: encoder: {e}") from e


def _frozen(
  name: str,
  spec: Mapping[str, Any],
  encoder: family.Encoder,
  chosen: Mapping[str, str],
) -> Frozen:
  """Makes a branch's part in a network; refuses an unknown layer."""
  layer = chosen.get("layer", "output")
  checkpoint = chosen.get("checkpoint", "")
  if not isinstance(checkpoint, str):
    raise errors.InputError(
      f"config: branch {name}: encoder {spec['encoder']['name']}: checkpoint:"
      f" found {checkpoint!r}, expected a path or a name on the hub."
    )
  if layer not in encoder.about.layers:
    raise errors.InputError(
      f"config: branch {name}: encoder {spec['encoder']['name']}: layer:"
      f" found {layer!r}, expected one of {encoder.about.layers}."
    )
  kept = {s: spec[s] for s in ("channels", "denoise", "frontend", "encoder")}
  forward = stages.text_of([kept, checkpoint])
  taken = stages.text_of([kept, layer, spec["pooling"]])
  if stages.is_imported({**kept, "pooling": spec["pooling"]}):
    taken = ""
  return Frozen(encoder, checkpoint, layer, forward, taken)


def _length_check(front: Front, frozen: Frozen | None) -> Callable[[int], None]:
  """What refuses a number of samples that the encoder cannot take."""

  def check(num_samples: int) -> None:
    if frozen:
      frozen.encoder.about.num_patches(front.num_frames(num_samples))

  return check


def build_branch(name: str, spec: Mapping[str, Any]) -> Branch:
  """Makes the functions of one branch.

  Args:
    name: name of the branch, for messages.
    spec: settings, a key for each stage and `OTHER_KEYS`.

  Returns:
    The branch.

  Raises:
    InputError: if a name, keyword or combination is not known.
  """
  stages.check(name, spec)
  spec = {**spec, "encoder": dict(spec["encoder"])}
  recipe = stages.read_recipe(name, spec["encoder"].pop("recipe", {}))
  keys = [k for k in stages.CHOSEN if k in spec["encoder"]]
  chosen = {k: spec["encoder"].pop(k) for k in keys}
  found = {s: stages.resolve(s, spec[s], t) for s, t in stages.TABLES.items()}
  fns = {
    s: fn if s in stages.SWEPT else functools.partial(fn, **floats)
    for s, (fn, floats) in found.items()
  }
  wrappers, scalars = stages.find_wrappers(spec["wrappers"])
  hypers = {s: found[s][1] for s in stages.SWEPT if s in found}
  hypers["wrappers"] = scalars
  front = build_front(name, tuple(spec["channels"]), fns)
  encoder, pool, key = _make_encoder(name, fns), fns["pooling"], fns["key"]()
  num_frames, frozen = encoder.about.patch_frames, None
  if encoder.scope == "file":
    frozen, encoder = _frozen(name, spec, encoder, chosen), None
  elif chosen:
    raise errors.InputError(
      f"config: branch {name}: encoder {spec['encoder']['name']}: found"
      f" {keys}, which only encoders with published weights have."
    )
  elif encoder.scope == "none":
    encoder = None
  backend = stages.make_backend(fns["backend"], wrappers)
  stages.check_backend(name, spec, backend(hypers))
  over_frames = backend(hypers).over_frames

  def shortened(out: Array) -> Array:
    return out if encoder else jax.vmap(pool)(out)

  def pooled(state: Tree, x: Array) -> Array:  # [C, ...]
    if not encoder:
      return x
    tokens = encoder.apply(state["encoder"], x, ("output",))["output"]
    return jax.vmap(pool)(tokens.grid[:, :, 0])

  def embed(h: Hypers, state: Tree, x: Array) -> Array:
    return fns["view"](pooled(state, x), **h["view"])

  def changed(h: Hypers, state: Tree, emb: Array) -> Array:
    change = fns["transform"](**h["transform"])
    return change.apply(state["transform"], emb)

  def raw(h: Hypers, state: Tree, x: Array) -> Array:
    emb = changed(h, state, embed(h, state, x))
    return backend(h).score(state["backend"], emb)

  def fit_moments(h: Hypers, state: Tree, clips: OverClips) -> base.Bank:
    moments = _domain_moments(lambda x: embed(h, state, x), clips)
    none = jnp.zeros((clips.is_target.shape[0], 0))
    num = clips.num_target
    return base.bank_of(none, clips.is_target, num_target=num, moments=moments)

  def fit_bank(
    h: Hypers, state: Tree, clips: OverClips, cov: Tree
  ) -> base.Bank:
    """Sets the transform in `state`; the clips' rows come first."""
    emb = clips.map(lambda x: embed(h, state, x))
    change = fns["transform"](**h["transform"])
    state["transform"] = change.fit(emb, clips.is_target)
    bank = base.bank_of(
      jax.vmap(lambda e: changed(h, state, e))(emb),
      clips.is_target,
      num_target=clips.num_target,
      covariance=cov,
      key=key and clips.map(lambda x: key(pooled(state, x))),
    )
    bank = fns["bank"](bank, **h["bank"])
    if clips.made is None:
      return bank
    made = jax.lax.map(
      lambda x: changed(h, state, embed(h, state, x)), clips.made.features
    )
    return base.append(
      bank,
      made,
      is_target=clips.is_target[clips.made.clip],
      group=clips.made.clip,
      num_target=made.shape[0],
    )

  def raw_self(
    h: Hypers, state: Tree, clips: OverClips, bank: base.Bank
  ) -> Array:
    if spec["reference"] != "loo":
      return clips.map(lambda x: raw(h, state, x))
    num = clips.is_target.shape[0]
    rows = (bank.emb[:num], bank.group[:num])
    one = lambda row: backend(h).self_score(state["backend"], *row)
    return jax.lax.map(one, rows, batch_size=min(num, 256))

  def fit(
    h: Hypers, clips: OverClips, network: reconstruction.Trained | None
  ) -> tuple[Tree, Array]:
    state: dict[str, Tree] = {"encoder": {}, "transform": {}}
    if network:
      state["encoder"] = {"params": network.params, "extra": network.extra}
    if over_frames:
      bank = fit_moments(h, state, clips)
    else:
      cov = network.covariance if network else None
      bank = fit_bank(h, state, clips, cov)
    state["backend"] = backend(h).fit(bank)
    refs = raw_self(h, state, clips, bank)
    cal = fns["calibration"](**h["calibration"])
    state["calibration"] = cal.fit(refs)
    own = jax.vmap(lambda s: cal.apply(state["calibration"], s))(refs)
    return state, own

  def score(h: Hypers, state: Tree, x: Array) -> Array:
    cal = fns["calibration"](**h["calibration"])
    return cal.apply(state["calibration"], raw(h, state, x))

  return Branch(
    hypers=hypers,
    front=front,
    encoder=encoder,
    frozen=frozen,
    shortened=shortened,
    recipe=recipe,
    reference=spec["reference"],
    fit=fit,
    score=score,
    backend=backend,
    min_samples=front.min_samples(num_frames),
    check_length=_length_check(front, frozen),
  )
