"""From a waveform to the features of every branch of a system.

Features are what is computed once a clip: the pooled tokens of an encoder that
does not change any more, or the input of one that is trained on the machine's
clips.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.data import audio
from asd_jax.encoders import family
from asd_jax.encoders.tokens import Tokens
from asd_jax.engine import sources
from asd_jax.engine.branch import Branch, Branches, Detect, Front
from asd_jax.ops.crops import Crops
from asd_jax.ops.masks import Ragged
from asd_jax.typing import Array

Tree = Any
# Parts of a `Front` that may gather statistics, in order: each sees what the
# ones before it make.
FITTED = Front._fields


def build_front(
  name: str, channels: tuple[int, ...], bound: Mapping[str, Callable]
) -> Front:
  """Puts together what comes before the encoder.

  Args:
    name: of the branch, for messages.
    channels: which of a clip's channels, in order.
    bound: stage to its function, see `stages.bind`.

  Returns:
    Its parts.

  Raises:
    InputError: if a stage needs more channels than there are.
  """
  front = Front(*(bound[stage]() for stage in FITTED))
  given = len(channels)
  # Clips are augmented before any denoiser takes their far channel away.
  for stage in ("augment", "denoise", "frontend"):
    part = getattr(front, stage)
    if given < part.num_channels:
      raise errors.InputError(
        f"config: branch {name}: {stage} needs {part.num_channels} channels"
        f" (near and far), found {given}; channels={channels}."
      )
    merges = part.num_channels > 1 and stage != "augment"
    given = 1 if merges else given
  return front


def build_crops(
  name: str, make: Callable[[], Crops | None], encoder: family.Encoder
) -> Crops | None:
  """Makes the crops of a branch.

  Args:
    name: of the branch, for messages.
    make: the stage `tta`.
    encoder: the branch's encoder.

  Returns:
    Crops, or None.

  Raises:
    InputError: if the encoder is trained on whole clips of the machine.
  """
  crops = make()
  if crops and encoder.scope == "machine":
    raise errors.InputError(
      f"config: branch {name}: tta: found crops with an encoder that is trained"
      " on the machine's own clips, expected 'none'."
    )
  return crops


def stages_of(branches: Branches) -> tuple[str, ...]:
  """Stages that gather statistics of the training clips, in order."""
  return tuple(
    s
    for s in FITTED
    if any(getattr(b.front, s).measure for b in branches.values())
  )


def unfitted(branches: Branches) -> Tree:
  """`{branch: {stage: state}}` before anything is fitted."""
  return {n: {stage: {} for stage in FITTED} for n in branches}


def _clean(
  branch: Branch, front: Tree, wave: Array, num: Array | None
) -> Array:
  stage = branch.front.denoise
  if num is None:
    return stage.apply(front["denoise"], wave)
  assert stage.apply_part is not None
  clean: Any = stage.apply_part(front["denoise"], wave, num)
  return clean


def _picked(branch: Branch, wave: Array) -> Array:
  """The branch's channels of `[C, S]` samples."""
  return wave[jnp.array(branch.channels)]


def _heard(
  branch: Branch, front: Tree, wave: Array, num: Array | None
) -> Array | Ragged:
  """Front-end output of picked channels, `[K, C', ...]` of K crops."""
  clean = _clean(branch, front, wave, num)
  if num is not None:
    part = branch.front.frontend.apply_part
    assert part is not None
    return part(front["frontend"], clean, num)
  hear = lambda x: branch.front.frontend.apply(front["frontend"], x)
  if branch.crops is None:
    return hear(clean)
  return jax.vmap(hear)(branch.crops.cut(clean))


def measure(
  branches: Branches,
  stage: str,
  front: Tree,
  wave: Array,
  *,
  num: Array | None = None,
) -> Tree:
  """What one training clip adds to the statistics of a stage.

  Args:
    branches: by name.
    stage: one of `stages_of`.
    front: states of the stages before it.
    wave: `[C, S]` int16 or float32 samples.
    num: `[]` samples that count, the others are zero; None for all.

  Returns:
    `{branch: sums}`, to be added over training clips.
  """
  wave = audio.to_float(wave)
  out = {}
  for name, branch in branches.items():
    part = getattr(branch.front, stage)
    if part.measure:
      x = _picked(branch, wave)
      if stage == "frontend":
        x = _clean(branch, front[name], x, num)
      one = part.measure if num is None else part.measure_part
      out[name] = one(x) if num is None else one(x, num)
  return out


def fit_front(branches: Branches, stage: str, front: Tree, sums: Tree) -> Tree:
  """Fits a stage to the sums of all training clips.

  Args:
    branches: by name.
    stage: one of `stages_of`.
    front: states so far.
    sums: added results of `measure`.

  Returns:
    The states with that stage's.
  """
  out = dict(front)
  for name, total in sums.items():
    fit = getattr(branches[name].front, stage).fit
    out[name] = {**front[name], stage: fit(total)}
  return out


def _passes(branches: Branches, names: Sequence[str]) -> list[list[str]]:
  """Groups of branches that share a pass through a network."""
  groups: dict[tuple[bool, str], list[str]] = {}
  for name in names:
    branch = branches[name]
    key = sources.has_weights(branch.encoder), branch.source.passes
    groups.setdefault(key, []).append(name)
  return list(groups.values())


def front_outputs(
  branches: Branches,
  front: Tree,
  wave: Array,
  names: Sequence[str],
  *,
  num: Array | None = None,
) -> dict[str, Array | Ragged]:
  """What front ends make of a clip.

  Args:
    branches: by name.
    front: states of the fitted stages.
    wave: `[C, S]` int16 or float32 samples.
    names: branches that are wanted.
    num: `[]` samples that count, the others are zero; None for all.

  Returns:
    `{branch: [C', ...]}`, by the first branch of those that share it.
  """
  wave = audio.to_float(wave)
  firsts = [group[0] for group in _passes(branches, names)]
  return {
    n: _heard(branches[n], front[n], _picked(branches[n], wave), num)
    for n in firsts
  }


def augmented(
  branch: Branch,
  front: Tree,
  wave: Array,
  draw: Tree,
  *,
  num: Array | None = None,
) -> Array | Ragged:
  """Front-end output of a clip that is made from another.

  Args:
    branch: the branch.
    front: its states.
    wave: `[C, S]` int16 or float32 samples.
    draw: what the clip is made with, see `Augment.draw`.
    num: `[]` samples that count, the others are zero; None for all.

  Returns:
    `[C', ...]`.
  """
  x = _picked(branch, audio.to_float(wave))
  return _heard(branch, front, branch.front.augment.apply(draw, x), num)


def _pooled(detect: Detect, tokens: Tokens) -> Array:
  """`[C', ...]` of the grid, or of the CLS token."""
  taken: Any = tokens.cls if detect.of_cls else tokens.grid
  if tokens.num is None:
    return jax.vmap(detect.pool)(taken)
  assert detect.pool_part is not None
  return jax.vmap(detect.pool_part)(taken, tokens.num)


def _tokens(
  branches: Branches, group: Sequence[str], x: Any, params: Tree
) -> dict[str, Array]:
  """Pooled tokens of branches that share a pass, all layers at once."""
  first = branches[group[0]]
  layer = {n: branches[n].source.layer for n in group}
  layers = tuple(dict.fromkeys(layer.values()))

  def one(output: Array | Ragged) -> dict[str, Array]:
    part = first.encoder.apply_part
    of: Any = part if isinstance(output, Ragged) else first.encoder.apply
    tokens = of(params, output, layers)
    return {n: _pooled(branches[n].detect, tokens[layer[n]]) for n in group}

  # Embeddings are averaged, not tokens: crops have other numbers of them.
  if first.crops is None:
    return one(x)
  return {n: first.crops.join(e) for n, e in jax.vmap(one)(x).items()}


def features(
  branches: Branches, weights: Tree, outputs: Tree, names: Sequence[str]
) -> dict[str, Array]:
  """Features of one clip.

  Args:
    branches: by name.
    weights: parameters of encoders that have some, by source.
    outputs: what `front_outputs` returns.
    names: branches that are wanted.

  Returns:
    `{branch: [C', ...]}`: pooled tokens, or the input of an encoder that is
    trained on the machine's clips; `[K, C', ...]` of an encoder with K seeds.
  """
  source, out = sources.of(branches), {}
  for group in _passes(branches, names):
    # The front end of the first stands for all: their settings are equal.
    first = group[0]
    x = outputs[first]
    if branches[first].encoder.scope == "machine":
      out[first] = x
    else:
      params = weights[source[first]] if first in source else {}
      one = functools.partial(_tokens, branches, group, x)
      # Seeds in turn: tokens of one are let go before those of the next.
      adapted = branches[first].encoder.scope == "run"
      out |= jax.lax.map(one, params) if adapted else one(params)
  return {n: out[n] for n in names}


def clip_features(
  branches: Branches, front: Tree, weights: Tree, wave: Array
) -> dict[str, Array]:
  """Features of one clip of samples, of all branches.

  Args:
    branches: by name.
    front: states of the fitted stages.
    weights: parameters of encoders that have some, by source.
    wave: `[C, S]` int16 or float32 samples.

  Returns:
    `{branch: [C', ...]}`.
  """
  names = tuple(branches)
  outputs = front_outputs(branches, front, wave, names)
  return features(branches, weights, outputs, names)


def denoises(branch: Branch) -> bool:
  """Whether near and far become one channel before the encoder."""
  return sources.merges(branch.front)


def num_channels(branches: Branches) -> int:
  """Channels that a clip must have."""
  return 1 + max(max(b.channels) for b in branches.values())


def _num_frames(encoder: family.Encoder) -> int:
  """The fewest frames that an encoder takes."""
  return encoder.about.patch_frames


def min_samples(branches: Branches) -> int:
  """Samples that a clip must have."""
  return max(
    b.front.frontend.min_samples(_num_frames(b.encoder))
    for b in branches.values()
  )


def check_length(branches: Branches, num_samples: int) -> None:
  """Checks that the encoders take clips of some length.

  Args:
    branches: by name.
    num_samples: length of a clip.

  Raises:
    InputError: if one does not.
  """
  for branch in branches.values():
    if sources.has_weights(branch.encoder):
      frames = branch.front.frontend.num_frames(num_samples)
      branch.encoder.about.num_patches(frames)
