"""One branch of a system: from its settings to pure functions."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax.backends import base
from asd_jax.encoders import trained
from asd_jax.ops import statistics
from asd_jax.pipelines import stages
from asd_jax.pipelines.stages import Hypers
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


class Branch(NamedTuple):
  """One path from a clip to a score; see `System` for the functions.

  Attributes:
    hypers: `{stage: {name: value}}`.
    measure: stage to `(front, [C, S]) -> sums` that add over training clips,
      for stages that are fitted before everything else.
    fit_front: the same stages to `sums -> state`.
    features: `(front, [C, S]) -> [C', ...]`; `front` holds the stages' states.
    num_made: `(front, number of source clips) -> number` of clips to make from
      the target-domain training clips, on the host.
    draws: `number -> tree` with a leading axis, what the clips are made with.
    made: `(front, [C, S], one draw) -> [C', ...]` features of a made clip.
    denoises: whether near and far become one channel before the encoder.
    encoder: an encoder to train, or None.
    recipe: how to train it.
    reference: where training scores come from, `"loo"` or `"in_sample"`.
    fit: `(hypers, OverClips, Trained | None) -> (state, [N])`; the second
      result is the training clips' scores.
    score: `(hypers, state, features) -> []`.
    backend: `hypers -> Backend`.
    num_channels: channels that a clip must have.
    min_samples: samples that a clip must have.
  """

  hypers: Hypers
  measure: dict[str, Callable[[Tree, Array], Tree]]
  fit_front: dict[str, Callable[[Tree], Tree]]
  features: Callable[[Tree, Array], Array]
  num_made: Callable[[Tree, int], int]
  draws: Callable[[int], Tree]
  made: Callable[[Tree, Array, Tree], Array]
  denoises: bool
  encoder: trained.TrainedEncoder | None
  recipe: reconstruction.Recipe
  reference: str
  fit: Callable[..., tuple[Tree, Array]]
  score: Callable[[Hypers, Tree, Array], Array]
  backend: Callable[[Hypers], base.Backend]
  num_channels: int
  min_samples: int


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


class Front(NamedTuple):
  """What comes before the encoder; see `Branch`."""

  measure: dict[str, Callable[[Tree, Array], Tree]]
  fit: dict[str, Callable[[Tree], Tree]]
  apply: Callable[[Tree, Array], Array]
  num_made: Callable[[Tree, int], int]
  draws: Callable[[int], Tree]
  made: Callable[[Tree, Array, Tree], Array]
  denoises: bool
  min_samples: Callable[[int], int]


def _check_channels(name: str, channels: tuple[int, ...], parts: Tree) -> bool:
  """Whether near and far become one; refuses too few channels."""
  given = len(channels)
  for stage, part in parts.items():
    if given < part.num_channels:
      raise ValueError(
        f"config: branch {name}: {stage} needs {part.num_channels} channels"
        f" (near and far), found {given}; channels={channels}."
      )
    merges = part.num_channels > 1 and stage != "augment"
    given = 1 if merges else given
  return given < len(channels)


def _front(
  name: str, channels: tuple[int, ...], fns: Mapping[str, Callable]
) -> Front:
  """Makes what comes before the encoder."""
  parts = {s: fns[s]() for s in ("augment", *stages.FITTED[:2])}
  clean, frontend, augment = (parts[s] for s in stages.FITTED)
  denoises = _check_channels(name, channels, parts)
  pick = lambda wave: wave[jnp.array(channels)]
  cleaned = lambda front, x: clean.apply(front["denoise"], x)
  heard = lambda front, x: frontend.apply(front["frontend"], cleaned(front, x))
  before = {
    "denoise": lambda front, x: x,
    "frontend": cleaned,
    "augment": lambda front, x: x,
  }

  def measure_of(stage: str) -> Callable[[Tree, Array], Tree]:
    one = parts[stage].measure
    return lambda front, x: one(before[stage](front, pick(x)))

  measure = {s: measure_of(s) for s in stages.FITTED if parts[s].measure}
  return Front(
    measure=measure,
    fit={s: parts[s].fit for s in measure},
    apply=lambda front, x: heard(front, pick(x)),
    num_made=lambda front, num: augment.count(front["augment"], num),
    draws=augment.draw,
    made=lambda front, x, draw: heard(front, augment.apply(draw, pick(x))),
    denoises=denoises,
    min_samples=frontend.min_samples,
  )


def build_branch(name: str, spec: Mapping[str, Any]) -> Branch:
  """Makes the functions of one branch.

  Args:
    name: name of the branch, for messages.
    spec: settings, a key for each stage and `OTHER_KEYS`.

  Returns:
    The branch.

  Raises:
    ValueError: if a name, keyword or combination is not known.
  """
  stages.check(name, spec)
  spec = {**spec, "encoder": dict(spec["encoder"])}
  recipe = stages.read_recipe(name, spec["encoder"].pop("recipe", {}))
  found = {s: stages.resolve(s, spec[s], t) for s, t in stages.TABLES.items()}
  fns = {
    s: fn if s in stages.SWEPT else functools.partial(fn, **floats)
    for s, (fn, floats) in found.items()
  }
  wrappers, scalars = stages.find_wrappers(spec["wrappers"])
  hypers = {s: found[s][1] for s in stages.SWEPT if s in found}
  hypers["wrappers"] = scalars
  channels = tuple(spec["channels"])
  front = _front(name, channels, fns)
  encoder, pool, key = fns["encoder"](), fns["pooling"], fns["key"]()
  backend = stages.make_backend(fns["backend"], wrappers)
  stages.check_backend(name, spec, backend(hypers))
  over_frames = backend(hypers).over_frames

  def shortened(out: Array) -> Array:
    return out if encoder else jax.vmap(pool)(out)

  def pooled(state: Tree, x: Array) -> Array:  # [C, ...]
    if not encoder:
      return x
    errors = jax.vmap(lambda f: encoder.apply(state["encoder"], f))(x)
    return jax.vmap(pool)(errors)

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
    measure=front.measure,
    fit_front=front.fit,
    features=lambda state, x: shortened(front.apply(state, x)),
    num_made=front.num_made,
    draws=front.draws,
    made=lambda state, x, draw: shortened(front.made(state, x, draw)),
    denoises=front.denoises,
    encoder=encoder,
    recipe=recipe,
    reference=spec["reference"],
    fit=fit,
    score=score,
    backend=backend,
    num_channels=1 + max(channels),
    min_samples=front.min_samples(encoder.num_context if encoder else 1),
  )
