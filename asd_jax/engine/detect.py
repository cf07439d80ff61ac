"""From the features of a clip to its score: everything behind the encoder."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.backends import base
from asd_jax.engine.branch import Branch, Detect
from asd_jax.engine.normals import Clips
from asd_jax.engine.stages import Hypers
from asd_jax.ops import pooling, pooling_parts, statistics
from asd_jax.ops.masks import Ragged
from asd_jax.training import reconstruction
from asd_jax.typing import Array

Tree = Any
# Training scores at a time: a row of distances each.
_SELF_AT_ONCE = 256


def pooled(branch: Branch, state: Tree, x: Array) -> Array:
  """Pools the features of one clip.

  Features of an encoder that is trained on the machine's clips are its input,
  because each machine and seed has a network of its own; all others were
  pooled when they were computed.

  Args:
    branch: the branch.
    state: `encoder` is the trained network, if there is one.
    x: `[C', ...]` features.

  Returns:
    `[C', ...]`.
  """
  if branch.encoder.scope != "machine":
    return x
  part = branch.encoder.apply_part
  of: Any = part if isinstance(x, Ragged) else branch.encoder.apply
  tokens = of(state["encoder"], x, ("output",))["output"]
  # What is made of frames is a grid with one frequency patch.
  rows = tokens.grid[:, :, 0]  # [C', T', D] -> [C', ...]
  if tokens.num is None:
    return jax.vmap(branch.detect.pool)(rows)
  assert branch.detect.pool_part is not None
  return jax.vmap(branch.detect.pool_part)(rows, tokens.num)


def embed(branch: Branch, h: Hypers, state: Tree, x: Array) -> Array:
  """Makes one embedding of a clip's channels, before any transform.

  Args:
    branch: the branch.
    h: scalars by stage.
    state: fitted state, see `pooled`.
    x: `[C', ...]` features of one clip.

  Returns:
    `[...]` embedding.
  """
  return branch.detect.view(pooled(branch, state, x), **h["view"])


def _changed(branch: Branch, h: Hypers, state: Tree, emb: Array) -> Array:
  change = branch.detect.transform(**h["transform"])
  return change.apply(state["transform"], emb)


def _raw(branch: Branch, h: Hypers, state: Tree, x: Array) -> Array:
  """The backend's score of one clip, before calibration."""
  emb = _changed(branch, h, state, embed(branch, h, state, x))
  return branch.detect.backend(h).score(state["backend"], emb)


def score(branch: Branch, h: Hypers, state: Tree, x: Array) -> Array:
  """Scores one clip.

  Args:
    branch: the branch.
    h: scalars by stage.
    state: what `fit` returned.
    x: `[C', ...]` features of one clip.

  Returns:
    `[]` calibrated score.
  """
  cal = branch.detect.calibration(**h["calibration"])
  raw = _raw(branch, h, state, x)
  return cal.apply(state["calibration"], raw)


def _domain_moments(
  frames: Callable[[Array], Array], clips: Clips
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


def _fourth(
  frames: Callable[[Array], Array], clips: Clips, bank: base.Bank
) -> Array:
  """Mean of the fourth power of all frames' distance from their mean."""
  both = statistics.merge(*base.domain_moments(bank))

  def add(total: Array, x: Array, is_target: Array) -> Array:
    del is_target
    gap = jnp.sum(jnp.square(frames(x) - both.mean[None]), axis=1)
    return total + jnp.sum(jnp.square(gap))

  return clips.fold(add, jnp.zeros(())) / jnp.maximum(both.num, 1.0)


def _moments_bank(
  branch: Branch, h: Hypers, state: Tree, clips: Clips
) -> base.Bank:
  """The bank of a backend on frames: their moments, no embeddings."""
  frames = lambda x: embed(branch, h, state, x)
  none = jnp.zeros((clips.is_target.shape[0], 0))
  bank = base.bank_of(
    none,
    clips.is_target,
    valid=clips.valid,
    num_target=clips.num_target,
    moments=_domain_moments(frames, clips),
  )
  if branch.detect.backend(h).needs_fourth:
    bank = bank.replace(fourth=_fourth(frames, clips, bank))
  return bank


def _embeddings_bank(
  branch: Branch,
  h: Hypers,
  state: dict[str, Tree],
  clips: Clips,
  cov: Array | None,
) -> base.Bank:
  """The bank of embeddings; sets the transform in `state`.

  The clips' own rows come first, so that `_own_scores` finds them.
  """
  of_clip = lambda x: embed(branch, h, state, x)
  emb = clips.map(of_clip)
  state["transform"] = branch.detect.transform(**h["transform"]).fit(
    emb, clips.is_target, clips.valid
  )
  key = branch.detect.key
  bank = base.bank_of(
    jax.vmap(lambda e: _changed(branch, h, state, e))(emb),
    clips.is_target,
    valid=clips.valid,
    num_target=clips.num_target,
    covariance=cov,
    unit=branch.detect.backend(h).unit,
    key=key and clips.map(lambda x: key(pooled(branch, state, x))),
    centre_by=None if clips.valid is None else jnp.ones(len(emb), bool),
  )
  bank = branch.detect.bank(bank, **h["bank"])
  if clips.augmented is None:
    return bank
  # After the rows that are made of embeddings: those mix real clips only.
  new = jax.lax.map(
    lambda x: _changed(branch, h, state, of_clip(x)), clips.augmented.features
  )
  return base.append(
    bank,
    new,
    is_target=clips.is_target[clips.augmented.clip],
    group=clips.augmented.clip,
    num_target=new.shape[0],
    valid=clips.augmented.valid,
  )


def _own_scores(
  branch: Branch,
  h: Hypers,
  state: Tree,
  clips: Clips,
  bank: base.Bank,
) -> Array:
  """`[N]` the training clips' scores before calibration."""
  if branch.detect.reference != "loo":
    return clips.map(lambda x: _raw(branch, h, state, x))
  num = clips.is_target.shape[0]
  self_score = branch.detect.backend(h).self_score
  assert self_score is not None  # `check` refused others
  one = lambda row: self_score(state["backend"], *row)
  rows = (bank.emb[:num], bank.group[:num])
  return jax.lax.map(one, rows, batch_size=min(num, _SELF_AT_ONCE))


def fit(
  branch: Branch,
  h: Hypers,
  clips: Clips,
  network: reconstruction.Trained | None,
) -> tuple[Tree, Array]:
  """Fits the stages to the normal training clips.

  Args:
    branch: the branch.
    h: scalars by stage.
    clips: the training clips.
    network: of one seed, where the encoder is trained on these clips.

  Returns:
    The state, and `[N]` the training clips' calibrated scores.
  """
  state: dict[str, Tree] = {"encoder": {}, "transform": {}}
  if network:
    state["encoder"] = {"params": network.params, "extra": network.extra}
  if branch.detect.backend(h).over_frames:
    bank = _moments_bank(branch, h, state, clips)
  else:
    cov = network.covariance if network else None
    bank = _embeddings_bank(branch, h, state, clips, cov)
  state["backend"] = branch.detect.backend(h).fit(bank)
  refs = _own_scores(branch, h, state, clips, bank)
  cal = branch.detect.calibration(**h["calibration"])
  state["calibration"] = cal.fit(refs, clips.valid)
  own = jax.vmap(lambda s: cal.apply(state["calibration"], s))(refs)
  return state, own


def _pool_part(
  spec: Mapping[str, Any],
) -> Callable[[Array, Array], Array] | None:
  """The pooling of a part of the frames, with the settings of the whole's."""
  settings = {k: v for k, v in spec.items() if k != "name"}
  found = pooling_parts.PARTS.get(spec["name"])
  return found and functools.partial(found, **settings)


def build(spec: Mapping[str, Any], bound: Mapping[str, Callable]) -> Detect:
  """Puts the stages behind the encoder together.

  Args:
    spec: settings of the branch.
    bound: stage to its function, see `stages.bind`.

  Returns:
    The stages.
  """
  return Detect(
    pool=bound["pooling"],
    pool_part=_pool_part(spec["pooling"]),
    of_cls=spec["pooling"]["name"] in pooling.OF_CLS,
    view=bound["view"],
    key=bound["key"](),
    transform=bound["transform"],
    bank=bound["bank"],
    backend=bound["backend"],
    calibration=bound["calibration"],
    reference=spec["reference"],
  )


def check(name: str, spec: Mapping[str, Any], backend: base.Backend) -> None:
  """Checks that a backend fits the other stages.

  Args:
    name: name of the branch, for messages.
    spec: its settings.
    backend: the backend in its wrappers.

  Raises:
    InputError: if it does not.
  """
  kind = f"config: branch {name}: backend {spec['backend']['name']}"
  if spec["reference"] == "loo" and backend.self_score is None:
    raise errors.InputError(
      f"{kind} has no leave-one-out scores, set reference='in_sample'."
    )
  if spec["bank"]["name"] == "memmixup" and not backend.mixes:
    raise errors.InputError(
      f"{kind} takes no mixed rows that are not made, set"
      " bank.name='memmixup_rows'."
    )
  if backend.needs_key and spec["key"]["name"] == "none":
    raise errors.InputError(
      f"{kind}: found the wrapper prototypes without keys to choose by, set"
      " key.name='projection_residual'."
    )
  frames = spec["pooling"]["name"] == "frames"
  if frames != backend.over_frames:
    found = "all frames" if frames else "one embedding"
    raise errors.InputError(
      f"{kind}: found {found} a clip (pooling {spec['pooling']['name']}),"
      f" expected {'one embedding' if frames else 'pooling frames'}."
    )
  plain = dict(transform="identity", bank="plain")
  odd = [s for s, n in plain.items() if spec[s]["name"] != n]
  odd += ["wrappers"] if spec["wrappers"] else []
  if frames and odd:
    raise errors.InputError(
      f"{kind} works on frames: found {odd} set, expected {plain} and no"
      " wrappers."
    )
