"""From a config to a system: its floats, and pure functions of them."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax.backends import base, knn, mahalanobis, transform
from asd_jax.data import audio
from asd_jax.encoders import autoencoder
from asd_jax.frontends import log_mel
from asd_jax.ops import pooling, views
from asd_jax.scores import calibration, fusion, threshold
from asd_jax.training import reconstruction
from asd_jax.typing import Array

Tree = Any
Hypers = dict[str, Any]

# Stage (config key) -> name -> function. A system is a choice at each stage.
TABLES: dict[str, dict[str, Callable]] = {
  "frontend": log_mel.FRONTENDS,
  "encoder": {"identity": lambda: None, **autoencoder.ENCODERS},
  "pooling": pooling.POOLINGS,
  "view": views.VIEWS,
  "transform": transform.TRANSFORMS,
  "bank": {"plain": lambda bank: bank},
  "backend": {
    "embedding": base.embedding,
    **knn.BACKENDS,
    **mahalanobis.BACKENDS,
  },
  "calibration": calibration.CALIBRATORS,
}
# Stages whose floats are hyperparameters: traced, so that vmap sweeps them.
SWEPT = ("view", "transform", "bank", "backend", "calibration")
OTHER_KEYS = ("channels", "wrappers", "reference", "weight")
REFERENCES = ("loo", "in_sample")
THRESHOLDS = {"conformal": threshold.conformal, "gamma": threshold.gamma}


class Normals(flax.struct.PyTreeNode):
  """The training clips of one machine and section.

  Attributes:
    features: for each clip length, `{branch: [n, C, ...]}`.
    order: `[N]` place of each clip in the concatenation of `features`.
    is_target: `[N]` True for target-domain clips.
    trained: `{branch: Trained}` of branches that train an encoder.
  """

  features: tuple[dict[str, Array], ...]
  order: Array
  is_target: Array
  trained: dict[str, reconstruction.Trained]


class Branch(NamedTuple):
  """One path from a clip to a score; see `System` for the functions.

  Attributes:
    hypers: `{stage: {name: value}}`.
    channels: channels of the clip, in the order the stages see them.
    frontend: the front end.
    encoder: an encoder to train, or None.
    recipe: how to train it.
    reference: where training scores come from, `"loo"` or `"in_sample"`.
    features: `[C, S] -> [C, ...]`.
    fit: `(hypers, over_clips, is_target, Trained | None) -> (state, [N])`;
      `over_clips` maps a function of features over the training clips, the
      second result is their scores.
    score: `(hypers, state, features) -> []`.
    backend: `hypers -> Backend`.
  """

  hypers: Hypers
  channels: tuple[int, ...]
  frontend: log_mel.FrontEnd
  encoder: autoencoder.TrainedEncoder | None
  recipe: reconstruction.Recipe
  reference: str
  features: Callable[[Array], Array]
  fit: Callable[..., Tree]
  score: Callable[[Hypers, Tree, Array], Array]
  backend: Callable[[Hypers], base.Backend]


class System(NamedTuple):
  """A system: floats, and pure functions of them.

  Attributes:
    hypers: `{branch: {stage: {name: value}}, "weight": {branch: value},
      "fusion": {name: value}}`.
    fit: `(hypers, Normals) -> state`; every array of a branch's state has a
      leading seed axis, of length one where nothing is drawn.
    score: `(hypers, state, features) -> []`, of one clip.
    fit_scores: `fit`, and `[N]` scores of the training clips.
    score_seeds: `score`, and `[K]` the same seed by seed.
    features: `[C, S] -> {branch: [C, ...]}`, what comes before every fitted
      stage; int16 or float32 samples.
    branches: the branches by name.
    num_channels: channels that a clip must have.
    min_samples: samples that a clip must have.
  """

  hypers: Hypers
  fit: Callable[[Hypers, Normals], Tree]
  score: Callable[[Hypers, Tree, Tree], Array]
  fit_scores: Callable[[Hypers, Normals], tuple[Tree, Array]]
  score_seeds: Callable[[Hypers, Tree, Tree], tuple[Array, Array]]
  features: Callable[[Array], dict[str, Array]]
  branches: dict[str, Branch]
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
  floats = {k: v for k, v in kwargs.items() if isinstance(v, float)}
  static = {k: v for k, v in kwargs.items() if k not in floats}
  return functools.partial(table[name], **static), floats


def _check_branch(name: str, spec: Mapping[str, Any]) -> None:
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
  _check_branch(name, spec)
  spec = {**spec, "encoder": dict(spec["encoder"])}
  recipe = _recipe(name, spec["encoder"].pop("recipe", {}))
  stages = {s: resolve(s, spec[s], table) for s, table in TABLES.items()}
  fns = {
    s: fn if s in SWEPT else functools.partial(fn, **floats)
    for s, (fn, floats) in stages.items()
  }
  hypers = {s: stages[s][1] for s in SWEPT}
  frontend, encoder = fns["frontend"](), fns["encoder"]()
  wrappers = [
    resolve("wrappers", {"name": w}, base.WRAPPERS)[0] for w in spec["wrappers"]
  ]
  backend = _make_backend(fns["backend"], wrappers)
  if spec["reference"] == "loo" and backend(hypers).self_score is None:
    raise ValueError(
      f"config: branch {name}: backend {spec['backend']['name']} has no"
      " leave-one-out scores, set reference='in_sample'."
    )
  channels = tuple(spec["channels"])

  def features(wave: Array) -> Array:  # [C, S]
    out = frontend.apply(wave[jnp.array(channels)])  # [C, T, M]
    return out if encoder else jax.vmap(fns["pooling"])(out)

  def embed(h: Hypers, state: Tree, x: Array) -> Array:
    if encoder:
      errors = jax.vmap(lambda f: encoder.apply(state["encoder"], f))(x)
      x = jax.vmap(fns["pooling"])(errors)
    return fns["view"](x, **h["view"])

  def emb_of(h: Hypers, state: Tree, x: Array) -> Array:
    change = fns["transform"](**h["transform"])
    return change.apply(state["transform"], embed(h, state, x))

  def raw(h: Hypers, state: Tree, x: Array) -> Array:
    return backend(h).score(state["backend"], emb_of(h, state, x))

  def raw_self(h: Hypers, state: Tree, over_clips: Callable) -> Array:
    if spec["reference"] == "loo":
      return backend(h).self_score(state["backend"])  # pyrefly: ignore
    return over_clips(lambda x: raw(h, state, x))

  def fit(
    h: Hypers,
    over_clips: Callable,
    is_target: Array,
    trained: reconstruction.Trained | None,
  ) -> tuple[Tree, Array]:
    state: dict[str, Tree] = {"encoder": {}}
    if trained:
      state["encoder"] = {"params": trained.params, "extra": trained.extra}
    covariance = trained.covariance if trained else None
    emb = over_clips(lambda x: embed(h, state, x))
    change = fns["transform"](**h["transform"])
    state["transform"] = change.fit(emb, is_target)
    emb = jax.vmap(lambda e: change.apply(state["transform"], e))(emb)
    bank = base.bank_of(emb, is_target, covariance=covariance)
    state["backend"] = backend(h).fit(fns["bank"](bank, **h["bank"]))
    refs = raw_self(h, state, over_clips)
    cal = fns["calibration"](**h["calibration"])
    state["calibration"] = cal.fit(refs)
    own = jax.vmap(lambda s: cal.apply(state["calibration"], s))(refs)
    return state, own

  def score(h: Hypers, state: Tree, x: Array) -> Array:
    cal = fns["calibration"](**h["calibration"])
    return cal.apply(state["calibration"], raw(h, state, x))

  return Branch(
    hypers=hypers,
    channels=channels,
    frontend=frontend,
    encoder=encoder,
    recipe=recipe,
    reference=spec["reference"],
    features=features,
    fit=fit,
    score=score,
    backend=backend,
  )


def _over_clips(normals: Normals, name: str) -> Callable:
  """Maps a function of one clip's features over all training clips."""

  def over(fn: Callable[[Array], Array]) -> Array:
    parts = [
      jax.lax.map(fn, group[name], batch_size=min(16, len(group[name])))
      for group in normals.features
    ]
    return jnp.concatenate(parts)[normals.order]

  return over


def build(config: Mapping[str, Any]) -> System:
  """Makes the functions of a whole system.

  Args:
    config: `branches`, `fusion`, `seeds`; other keys are not read here.

  Returns:
    The system.

  Raises:
    ValueError: if a name or a keyword is not known.
  """
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  branches = {n: build_branch(n, b) for n, b in config["branches"].items()}
  if not branches:
    raise ValueError("config: branches: found none, expected one or more.")
  fuse_fn, fuse_floats = resolve("fusion", config["fusion"], fusion.FUSIONS)
  hypers: Hypers = {n: b.hypers for n, b in branches.items()}
  weights = {n: float(b["weight"]) for n, b in config["branches"].items()}
  hypers |= {"weight": weights, "fusion": fuse_floats}

  def fuse(h: Hypers, scores: dict[str, Array]) -> Array:
    stacked = jnp.stack([scores[n] for n in branches])
    weight = jnp.stack([jnp.asarray(h["weight"][n]) for n in branches])
    return fuse_fn(stacked, weight, **h["fusion"])

  def fit_scores(h: Hypers, normals: Normals) -> tuple[Tree, Array]:
    def one(name: str, branch: Branch) -> tuple[Tree, Array]:
      over = _over_clips(normals, name)
      member = lambda t: branch.fit(h[name], over, normals.is_target, t)
      if branch.encoder:
        return jax.vmap(member)(normals.trained[name])
      return jax.tree.map(lambda x: x[None], member(None))

    fitted = {n: one(n, b) for n, b in branches.items()}
    state = {n: f[0] for n, f in fitted.items()}
    return state, fuse(h, {n: f[1].mean(0) for n, f in fitted.items()})

  def score_seeds(h: Hypers, state: Tree, x: Tree) -> tuple[Array, Array]:
    scores = {
      n: jax.vmap(lambda s, n=n, b=b: b.score(h[n], s, x[n]))(state[n])
      for n, b in branches.items()
    }
    num = max(s.shape[0] for s in scores.values())
    wide = {n: jnp.broadcast_to(s, (num,)) for n, s in scores.items()}
    fused = fuse(h, {n: s.mean(0) for n, s in scores.items()})
    return fused, jax.vmap(lambda s: fuse(h, s))(wide)

  def features(wave: Array) -> dict[str, Array]:
    wave = audio.to_float(wave)
    return {n: b.features(wave) for n, b in branches.items()}

  return System(
    hypers=hypers,
    fit=lambda h, normals: fit_scores(h, normals)[0],
    score=lambda h, state, x: score_seeds(h, state, x)[0],
    fit_scores=fit_scores,
    score_seeds=score_seeds,
    features=features,
    branches=branches,
    num_channels=1 + max(max(b.channels) for b in branches.values()),
    min_samples=max(_min_samples(b) for b in branches.values()),
  )


def _min_samples(branch: Branch) -> int:
  need = branch.encoder.num_context if branch.encoder else 1
  return branch.frontend.min_samples(need)
