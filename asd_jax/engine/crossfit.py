"""Models fitted without a part of the training clips, for honest p-values.

A detector's scores of its own training clips are lower than those of new
normal clips: everything that was fitted has seen them. Here all that is fitted
is fitted again without each fold: statistics of front ends, networks,
transforms, rows that are made, backends, calibrations. A training clip's
score by the model of its own fold is that of a clip the model has not seen.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from asd_jax.data import clips, windows
from asd_jax.engine import decide as rules
from asd_jax.scores import p_value, threshold

# Types alone: whoever decides needs no code of a system.
if TYPE_CHECKING:
  from asd_jax.engine import system as system_lib
  from asd_jax.engine.normals import Normals
  from asd_jax.engine.programs import Programs

Tree = Any
# Of the largest number of an array.
_ROUNDING = 1e-6


class Folds(NamedTuple):
  """Models of folds, and what they make of the training clips.

  Attributes:
    states: of the system, each fitted without one fold. Arrays that are those
      of the whole fit are the same objects, so that they are kept once.
    own: `[N]` the training clips' scores, each by the model of its own fold.
    fold: `[N]` int32 fold of each training clip.
    is_target: `[N]` True for target-domain clips.
  """

  states: tuple[Tree, ...]
  own: np.ndarray
  fold: np.ndarray
  is_target: np.ndarray


def fold_of(rule: rules.Rule, train: Sequence[clips.Clip]) -> np.ndarray | None:
  """The fold of each training clip.

  Args:
    rule: how many there are to be.
    train: the clips; windows of a recording make blocks of time.

  Returns:
    `[N]`; None for no folds. One clip leaves nothing to fit a model without it
    to.
  """
  if not rule.folds or len(train) < 2:
    return None
  is_target = np.array([c.domain == "target" for c in train])
  return p_value.folds(is_target, rule.folds, order=windows.order(train))


def refits_features(system: "system_lib.System") -> bool:
  """Whether features of a clip depend on which clips are trained on."""
  return any(
    part.measure
    for b in system.branches.values()
    for part in (b.front.denoise, b.front.frontend)
  )


def shared(state: Tree, whole: Tree) -> Tree:
  """A fold's state with the arrays of the whole fit where they are equal.

  Args:
    state: of a fold.
    whole: of all clips, on the host.

  Returns:
    The state on the host. Rows of a bank are the same for all folds, only the
    mask of those that count differs: they are held and written once.
  """

  def one(a: Any, b: np.ndarray) -> np.ndarray:
    a = np.asarray(a)
    if a.dtype != b.dtype or a.shape != b.shape:
      return a
    if not np.issubdtype(a.dtype, np.floating):
      return b if np.array_equal(a, b) else a
    # Two programs may round one array in two ways.
    size = float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b)))
    near = np.allclose(a, b, rtol=0.0, atol=_ROUNDING * size, equal_nan=True)
    return b if near else a

  # Shapes that differ (more rows were made) make trees of the same form.
  return jax.tree.map(one, state, whole)


def placed(states: tuple[Tree, ...], programs: "Programs") -> tuple[Tree, ...]:
  """States on the devices; arrays that several share are copied once.

  Args:
    states: on the host.
    programs: what will score with them.

  Returns:
    The same, on the devices.
  """
  done: dict[int, Any] = {}

  def put(x: Any) -> Any:
    if id(x) not in done:
      done[id(x)] = programs.place(x)
    return done[id(x)]

  return tuple(jax.tree.map(put, state) for state in states)


def score_rows(
  programs: "Programs", state: Tree, normals: "Normals", rows: np.ndarray
) -> np.ndarray:
  """Scores training clips by their features, as any clip is scored.

  Args:
    programs: the compiled system.
    state: of a fold.
    normals: training clips.
    rows: `[n]` which of them.

  Returns:
    `[n]` scores. By the programs that score new clips: equal clips get equal
    numbers, and a training clip scored again ties with itself.
  """
  sizes = [len(jax.tree.leaves(g)[0]) for g in normals.features]
  starts = np.concatenate([[0], np.cumsum(sizes)])
  places = np.asarray(normals.order)[rows]
  out, size = np.zeros(len(rows), np.float32), programs.batch_size
  for start, end, group in zip(
    starts[:-1], starts[1:], normals.features, strict=True
  ):
    inside = np.flatnonzero((places >= start) & (places < end))
    for i in range(0, len(inside), size):
      some = inside[i : i + size]
      # Batches of one shape are one program.
      full = np.resize(places[some] - start, size)
      own = jax.tree.map(lambda x: x[full], group)  # noqa: B023
      found = programs.scores(state, own)
      out[some] = np.asarray(found.fused)[: len(some)]
  return out


def fit(
  fit_states: Callable[["Normals"], Tree],
  programs: "Programs",
  whole: Tree,
  fold: np.ndarray,
  without: Callable[[int], "Normals"],
) -> Folds:
  """Fits a model without each fold.

  Args:
    fit_states: see `system.compiled_states`.
    programs: the compiled system.
    whole: state of the fit to all clips, on the host.
    fold: `[N]` fold of each training clip.
    without: fold to the training clips without it, see `Gatherer.without`.

  Returns:
    The models.
  """
  own = np.zeros(len(fold), np.float32)
  states, is_target = [], np.zeros(len(fold), bool)
  for k in range(int(fold.max()) + 1):
    normals = without(k)
    state = shared(fit_states(normals), whole)
    rows = np.flatnonzero(fold == k)
    (on_device,) = placed((state,), programs)
    own[rows] = score_rows(programs, on_device, normals, rows)
    is_target = np.asarray(normals.is_target)
    states.append(state)
  return Folds(tuple(states), own, fold, is_target)


def decide(
  rule: rules.Rule,
  limit: float | None,
  folds: Folds | None,
  score: np.ndarray,
  by_fold: np.ndarray,
  *,
  possible: bool,
) -> rules.Decided:
  """p-values and decisions of clips.

  Args:
    rule: the rule.
    limit: threshold on the score, where the rule has one.
    folds: models of folds, if there are any.
    score: `[Q]` scores by the whole model.
    by_fold: `[Q, K]` scores by the models of folds.
    possible: whether there are enough training clips.

  Returns:
    What is said of the clips, of each by itself.
  """
  p = np.full(len(score), np.nan)
  decision = np.full(len(score), threshold.UNDECIDED, np.int8)
  if folds is not None:
    p = p_value.p_values(
      folds.own,
      folds.fold,
      folds.is_target,
      by_fold,
      by_domain=rule.by_domain,
    )
  if rule.by_score:
    if limit is not None:
      decision = (score > limit).astype(np.int8)
  elif folds is not None and possible:
    decision = p_value.alarms(p, rule.false_alarm_rate).astype(np.int8)
  return rules.Decided(p, decision)
