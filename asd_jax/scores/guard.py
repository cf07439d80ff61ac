"""Refuses a score function that looks at more than one test clip.

For tests of your own functions. What the engine scores is safe by construction:
a score function gets one clip, and a batch is its `vmap`.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from asd_jax import errors

Tree = Any


class TestStatisticError(Exception):
  """A score depends on the other test clips, or on those before it."""

  # Not a test, whatever its name says to pytest.
  __test__ = False


def _compare(
  found: np.ndarray, want: np.ndarray, rows: np.ndarray, how: str, rtol: float
) -> None:
  """Raises for the first of some clips whose score is another one."""
  # Beside the share, for scores near zero.
  known = np.abs(want[np.isfinite(want)])
  usual = np.median(known) if len(known) else 0.0
  same = np.isclose(
    found, want[rows], rtol=rtol, atol=rtol * usual, equal_nan=True
  )
  if same.all():
    return
  place = int(np.argmin(same))
  raise TestStatisticError(
    f"clip {rows[place]}: found the score {found[place]:.9g} {how}, but"
    f" {want[rows[place]]:.9g} in the batch; expected a function of the clip"
    " alone and of training data."
  )


def _in_company(clips: Tree, others: np.ndarray, factor: float) -> Tree:
  """The clips with some of them multiplied; flags and counts stay."""

  def one(x: ArrayLike) -> np.ndarray:
    x = np.array(x)
    if np.issubdtype(x.dtype, np.inexact):
      x[others] = x[others] * factor if factor else 0
    return x

  return jax.tree.map(one, clips)


def scores(
  fn: Callable[[Tree], ArrayLike], clips: Tree, *, rtol: float = 1e-6
) -> np.ndarray:
  """Scores clips as a batch, backwards, one by one and in other company.

  A statistic over the test clips (their mean, range, ranks or percentiles), and
  anything that is carried over from one call to the next, gives other scores.
  One that shows only in odd company (a limit that no clip here reaches) does so
  when every second clip is silent or a thousand times as loud.

  Args:
    fn: Q clips to `[Q]` scores, `[Q, ...] -> [Q]`; of a function of one clip,
      its `jax.vmap`.
    clips: an array, or a tree of arrays, with leading axis Q, two or more.
    rtol: share of a score that rounding may change, since batches of other
      sizes add in another order.

  Returns:
    `[Q]` scores of the batch.

  Raises:
    TestStatisticError: if a score is another one.
    InputError: for fewer than two clips, or scores that are not `[Q]`.

  Source: [KATECH26] Sec. 4.1, whose guard raises on reductions across clips.
  """
  num = len(jax.tree.leaves(clips)[0])
  if num < 2:
    raise errors.InputError(f"clips: found {num}, expected two or more.")

  def run(rows: np.ndarray, clips: Tree = clips) -> np.ndarray:
    # What is odd about the company is none of the clips' that are compared.
    with np.errstate(all="ignore"):
      found = np.asarray(fn(jax.tree.map(lambda x: x[rows], clips)))
    if found.shape != (len(rows),):
      raise errors.InputError(
        f"scores of {len(rows)} clips: found the shape {found.shape}, expected"
        f" {(len(rows),)}."
      )
    return found

  every = np.arange(num)
  batch = run(every)
  back = every[::-1]
  _compare(run(back), batch, back, "in reversed order", rtol)
  for row in every[:, None]:
    _compare(run(row), batch, row, "alone", rtol)
  for first in (0, 1):
    for factor, how in ((0.0, "beside silence"), (1e3, "beside loud clips")):
      odd = _in_company(clips, every[first::2], factor)
      rows = every[1 - first :: 2]
      _compare(run(every, odd)[rows], batch, rows, how, rtol)
  return batch
