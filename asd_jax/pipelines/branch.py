"""One branch of a system: from its settings to pure functions."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax.backends import base, knn, mahalanobis, residual, transform
from asd_jax.encoders import autoencoder, residual_autoencoder, trained
from asd_jax.frontends import denoise, log_mel
from asd_jax.ops import pooling, statistics, views
from asd_jax.scores import calibration
from asd_jax.training import reconstruction
from asd_jax.typing import Array

Tree = Any
Hypers = dict[str, Any]

# Stage (config key) -> name -> function. A system is a choice at each stage.
TABLES: dict[str, dict[str, Callable]] = {
  "denoise": denoise.WAVE_FILTERS,
  "frontend": log_mel.FRONTENDS,
  "encoder": {
    "identity": lambda: None,
    **autoencoder.ENCODERS,
    **residual_autoencoder.ENCODERS,
  },
  "pooling": pooling.POOLINGS,
  "view": views.VIEWS,
  "transform": transform.TRANSFORMS,
  "bank": {"plain": lambda bank: bank},
  "backend": {
    "embedding": base.embedding,
    **knn.BACKENDS,
    **mahalanobis.BACKENDS,
    **residual.BACKENDS,
  },
  "calibration": calibration.CALIBRATORS,
}
# Stages whose floats are hyperparameters: traced, so that vmap sweeps them.
SWEPT = ("view", "transform", "bank", "backend", "calibration")
# Stages that may gather statistics of the training clips, in order.
FITTED = ("denoise", "frontend")
# Settings that are a choice from a table themselves.
NESTED = {"denoiser": denoise.DENOISERS}
OTHER_KEYS = ("channels", "wrappers", "reference", "weight")
REFERENCES = ("loo", "in_sample")


class OverClips(NamedTuple):
  """The training clips as two ways to go through them.

  Attributes:
    map: a function of one clip's features to `[N, ...]`, in clip order.
    fold: `((carry, features, is_target []) -> carry, first carry) -> carry`,
      one clip at a time in constant memory.
    example: features of one clip.
  """

  map: Callable[[Callable[[Array], Array]], Array]
  fold: Callable[[Callable[[Tree, Array, Array], Tree], Tree], Tree]
  example: Array


class Branch(NamedTuple):
  """One path from a clip to a score; see `System` for the functions.

  Attributes:
    hypers: `{stage: {name: value}}`.
    measure: stage to `(front, [C, S]) -> sums` that add over training clips,
      for stages that are fitted before everything else.
    fit_front: the same stages to `sums -> state`.
    features: `(front, [C, S]) -> [C', ...]`; `front` holds the stages' states.
    denoises: whether near and far become one channel before the encoder.
    encoder: an encoder to train, or None.
    recipe: how to train it.
    reference: where training scores come from, `"loo"` or `"in_sample"`.
    fit: `(hypers, OverClips, is_target, Trained | None) -> (state, [N])`; the
      second result is the training clips' scores.
    score: `(hypers, state, features) -> []`.
    backend: `hypers -> Backend`.
    num_channels: channels that a clip must have.
    min_samples: samples that a clip must have.
  """

  hypers: Hypers
  measure: dict[str, Callable[[Tree, Array], Tree]]
  fit_front: dict[str, Callable[[Tree], Tree]]
  features: Callable[[Tree, Array], Array]
  denoises: bool
  encoder: trained.TrainedEncoder | None
  recipe: reconstruction.Recipe
  reference: str
  fit: Callable[..., tuple[Tree, Array]]
  score: Callable[[Hypers, Tree, Array], Array]
  backend: Callable[[Hypers], base.Backend]
  num_channels: int
  min_samples: int


def resolve(
  stage: str, spec: Mapping[str, Any], table: Mapping[str, Callable]
) -> tuple[Callable, dict[str, float]]:
  """Looks up one stage and splits its settings.

  Args:
    stage: its config key, for messages.
    spec: `name` and the keyword arguments of the named function.
    table: name to function.

  Returns:
    The function with its static settings bound, and the float settings.

  Raises:
    ValueError: if the name or a keyword is not known.
  """
  kwargs = dict(spec)
  name = kwargs.pop("name", None)
  if name not in table:
    raise ValueError(
      f"config: {stage}: found {name!r}, expected one of {sorted(table)}."
    )
  known = {
    p.name
    for p in inspect.signature(table[name]).parameters.values()
    if p.kind is p.KEYWORD_ONLY
  }
  if extra := sorted(set(kwargs) - known):
    raise ValueError(
      f"config: {stage} {name}: found {extra}, expected some of"
      f" {sorted(known)}."
    )
  for key in sorted(NESTED.keys() & kwargs.keys()):
    inner, floats = resolve(f"{stage}.{key}", kwargs[key], NESTED[key])
    kwargs[key] = inner(**floats)
  floats = {k: v for k, v in kwargs.items() if isinstance(v, float)}
  static = {k: v for k, v in kwargs.items() if k not in floats}
  return functools.partial(table[name], **static), floats


def _check(name: str, spec: Mapping[str, Any]) -> None:
  known = (*TABLES, *OTHER_KEYS)
  if extra := sorted(set(spec) - set(known)):
    raise ValueError(
      f"config: branch {name}: found {extra}, expected some of {known}."
    )
  if missing := [k for k in known if k not in spec]:
    raise ValueError(f"config: branch {name}: missing {missing}.")
  if spec["reference"] not in REFERENCES:
    raise ValueError(
      f"config: branch {name}: reference {spec['reference']!r}, expected one"
      f" of {REFERENCES}."
    )


def _check_backend(
  name: str, spec: Mapping[str, Any], backend: base.Backend
) -> None:
  kind = f"config: branch {name}: backend {spec['backend']['name']}"
  if spec["reference"] == "loo" and backend.self_score is None:
    raise ValueError(
      f"{kind} has no leave-one-out scores, set reference='in_sample'."
    )
  frames = spec["pooling"]["name"] == "frames"
  if frames != backend.over_frames:
    found = "all frames" if frames else "one embedding"
    raise ValueError(
      f"{kind}: found {found} a clip (pooling {spec['pooling']['name']}),"
      f" expected {'one embedding' if frames else 'pooling frames'}."
    )
  plain = dict(transform="identity", bank="plain")
  odd = [s for s, n in plain.items() if spec[s]["name"] != n]
  odd += ["wrappers"] if spec["wrappers"] else []
  if frames and odd:
    raise ValueError(
      f"{kind} works on frames: found {odd} set, expected {plain} and no"
      " wrappers."
    )


def _recipe(name: str, spec: Mapping[str, Any]) -> reconstruction.Recipe:
  known = reconstruction.Recipe._fields
  if extra := sorted(set(spec) - set(known)):
    raise ValueError(
      f"config: branch {name}: recipe: found {extra}, expected some of {known}."
    )
  return reconstruction.Recipe(**spec)


def _make_backend(fn: Callable, wrappers: list[Callable]) -> Callable:
  def backend(h: Hypers) -> base.Backend:
    out = fn(**h["backend"])
    for wrap in wrappers:
      out = wrap(out)
    return out

  return backend


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
  denoises: bool
  min_samples: Callable[[int], int]


def _front(
  name: str, channels: tuple[int, ...], fns: Mapping[str, Callable]
) -> Front:
  """Makes what comes before the encoder."""
  clean, frontend = fns["denoise"](), fns["frontend"]()
  given = len(channels)
  for stage, need in (
    ("denoise", clean.num_channels),
    ("frontend", frontend.num_channels),
  ):
    if given < need:
      raise ValueError(
        f"config: branch {name}: {stage} needs {need} channels (near and far),"
        f" found {given}; channels={channels}."
      )
    given = 1 if need > 1 else given
  pick = lambda wave: wave[jnp.array(channels)]
  cleaned = lambda front, wave: clean.apply(front["denoise"], pick(wave))
  measure = {
    "denoise": clean.measure and (lambda front, x: clean.measure(pick(x))),
    "frontend": frontend.measure
    and (lambda front, x: frontend.measure(cleaned(front, x))),
  }
  fits = {"denoise": clean.fit, "frontend": frontend.fit}
  used = [s for s in FITTED if measure[s]]

  def features(front: Tree, wave: Array) -> Array:  # [C', T, M]
    return frontend.apply(front["frontend"], cleaned(front, wave))

  return Front(
    {s: measure[s] for s in used},
    {s: fits[s] for s in used},
    features,
    given < len(channels),
    frontend.min_samples,
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
  _check(name, spec)
  spec = {**spec, "encoder": dict(spec["encoder"])}
  recipe = _recipe(name, spec["encoder"].pop("recipe", {}))
  stages = {s: resolve(s, spec[s], table) for s, table in TABLES.items()}
  fns = {
    s: fn if s in SWEPT else functools.partial(fn, **floats)
    for s, (fn, floats) in stages.items()
  }
  hypers = {s: stages[s][1] for s in SWEPT}
  channels = tuple(spec["channels"])
  front = _front(name, channels, fns)
  encoder, pool = fns["encoder"](), fns["pooling"]
  wrappers = [
    resolve("wrappers", {"name": w}, base.WRAPPERS)[0] for w in spec["wrappers"]
  ]
  backend = _make_backend(fns["backend"], wrappers)
  _check_backend(name, spec, backend(hypers))
  over_frames = backend(hypers).over_frames

  def features(front_state: Tree, wave: Array) -> Array:
    out = front.apply(front_state, wave)
    return out if encoder else jax.vmap(pool)(out)

  def embed(h: Hypers, state: Tree, x: Array) -> Array:
    if encoder:
      errors = jax.vmap(lambda f: encoder.apply(state["encoder"], f))(x)
      x = jax.vmap(pool)(errors)
    return fns["view"](x, **h["view"])

  def emb_of(h: Hypers, state: Tree, x: Array) -> Array:
    change = fns["transform"](**h["transform"])
    return change.apply(state["transform"], embed(h, state, x))

  def raw(h: Hypers, state: Tree, x: Array) -> Array:
    return backend(h).score(state["backend"], emb_of(h, state, x))

  def raw_self(h: Hypers, state: Tree, clips: OverClips) -> Array:
    if spec["reference"] == "loo":
      return backend(h).self_score(state["backend"])  # pyrefly: ignore
    return clips.map(lambda x: raw(h, state, x))

  def fit_bank(
    h: Hypers, state: Tree, clips: OverClips, is_target: Array, cov: Tree
  ) -> tuple[Tree, base.Bank]:
    if over_frames:
      moments = _domain_moments(lambda x: embed(h, state, x), clips)
      none = jnp.zeros((is_target.shape[0], 0))
      return {}, base.bank_of(none, is_target, moments=moments)
    emb = clips.map(lambda x: embed(h, state, x))
    change = fns["transform"](**h["transform"])
    fitted = change.fit(emb, is_target)
    emb = jax.vmap(lambda e: change.apply(fitted, e))(emb)
    bank = base.bank_of(emb, is_target, covariance=cov)
    return fitted, fns["bank"](bank, **h["bank"])

  def fit(
    h: Hypers,
    clips: OverClips,
    is_target: Array,
    network: reconstruction.Trained | None,
  ) -> tuple[Tree, Array]:
    state: dict[str, Tree] = {"encoder": {}}
    if network:
      state["encoder"] = {"params": network.params, "extra": network.extra}
    cov = network.covariance if network else None
    state["transform"], bank = fit_bank(h, state, clips, is_target, cov)
    state["backend"] = backend(h).fit(bank)
    refs = raw_self(h, state, clips)
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
    features=features,
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
