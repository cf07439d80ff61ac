"""Clips made from target-domain training clips, which only add bank rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

from asd_jax.typing import Array

Tree = Any


class Augment(NamedTuple):
  """Makes clips from training clips.

  Attributes:
    measure: `[C, S]` one training clip to sums that add over clips and
      devices; None where nothing is fitted.
    fit: sums of all training clips to the state; None likewise.
    count: `(state, number of source clips) -> number` of clips to make, on the
      host.
    draw: `number -> tree` with that leading axis: what each is made with.
    apply: `(one draw, [C, S]) -> [C, S]`.
    num_channels: channels that it needs.
  """

  measure: Callable[[Array], Tree] | None
  fit: Callable[[Tree], Tree] | None
  count: Callable[[Tree, int], int]
  draw: Callable[[int], Tree]
  apply: Callable[[Tree, Array], Array]
  num_channels: int


def none() -> Augment:
  """Makes no clips."""
  return Augment(
    None,
    None,
    lambda state, num: 0,
    lambda num: {},
    lambda draw, wave: wave,
    1,
  )


AUGMENTS = {"none": none}
