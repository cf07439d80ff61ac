"""What comes before a branch's encoder: denoiser, front end, made clips."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from asd_jax import errors
from asd_jax.engine import stages
from asd_jax.typing import Array

Tree = Any


class Front(NamedTuple):
  """What comes before the encoder.

  Attributes:
    measure: stage to `(front, [C, S]) -> sums` that add over training clips,
      for stages that are fitted before everything else.
    fit: the same stages to `sums -> state`.
    apply: `(front, [C, S]) -> [C', ...]`; `front` holds the stages' states.
    num_made: `(front, number of source clips) -> number` of clips to make from
      the target-domain training clips, on the host.
    draws: `number -> tree` with a leading axis, what the clips are made with.
    made: `(front, [C, S], one draw) -> [C', ...]`, `apply` of a made clip.
    denoises: whether near and far become one channel.
    num_channels: channels that a clip must have.
    min_samples: `T -> S`, samples needed for `T` frames.
    num_frames: `S -> T`.
  """

  measure: dict[str, Callable[[Tree, Array], Tree]]
  fit: dict[str, Callable[[Tree], Tree]]
  apply: Callable[[Tree, Array], Array]
  num_made: Callable[[Tree, int], int]
  draws: Callable[[int], Tree]
  made: Callable[[Tree, Array, Tree], Array]
  denoises: bool
  num_channels: int
  min_samples: Callable[[int], int]
  num_frames: Callable[[int], int]


def _check_channels(name: str, channels: tuple[int, ...], parts: Tree) -> bool:
  """Whether near and far become one; refuses too few channels."""
  given = len(channels)
  for stage, part in parts.items():
    if given < part.num_channels:
      raise errors.InputError(
        f"config: branch {name}: {stage} needs {part.num_channels} channels"
        f" (near and far), found {given}; channels={channels}."
      )
    merges = part.num_channels > 1 and stage != "augment"
    given = 1 if merges else given
  return given < len(channels)


def build_front(
  name: str, channels: tuple[int, ...], fns: Mapping[str, Callable]
) -> Front:
  """Makes what comes before the encoder.

  Args:
    name: of the branch, for messages.
    channels: which of a clip's channels, in order.
    fns: stage to its function, whose settings are bound.

  Returns:
    Pure functions of one clip.

  Raises:
    InputError: if a stage needs more channels than there are.
  """
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
    num_channels=1 + max(channels),
    min_samples=frontend.min_samples,
    num_frames=frontend.num_frames,
  )
