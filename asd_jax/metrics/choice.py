"""The best of many settings, and what that choice is worth.

Whoever takes the best of a hundred settings has also taken the luckiest. So
beside the best stands what each machine scores at the setting that the others
would have chosen, and how far other test clips would move the number.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.metrics import official, uncertainty

VALUES = official.RANKED
ALL = "all"
WARNING = (
  "The best setting was chosen by labels of test clips: this is model"
  " selection. Its score is too good as an estimate for other clips; the choice"
  " with each machine left out shows by how much, and a challenge allows"
  " choosing on the development set only."
)


class Section(NamedTuple):
  """Test clips of one section of a machine.

  Attributes:
    machine: machine type.
    is_anomaly: `[Q]` bool.
    is_target: `[Q]` bool, or None if the domains are unknown.
  """

  machine: str
  is_anomaly: np.ndarray
  is_target: np.ndarray | None


class Table(NamedTuple):
  """Every setting with its values.

  Attributes:
    keys: swept keys, in the order given.
    settings: `{key: value}` a point; a key that it lacks is absent.
    sections: the sections.
    values: `[points, S, 3]` AUC (source), AUC (target), pAUC; NaN where there
      is none.
  """

  keys: tuple[str, ...]
  settings: list[dict[str, Any]]
  sections: Sequence[Section]
  values: np.ndarray

  @property
  def machines(self) -> list[str]:
    """Machine types, sorted."""
    return sorted({s.machine for s in self.sections})

  def rows_of(self, machines: Sequence[str]) -> np.ndarray:
    """Numbers of the sections of some machines."""
    wanted = [i for i, s in enumerate(self.sections) if s.machine in machines]
    return np.array(wanted, int)


def over(table: Table) -> dict[str, Any]:
  """Says what the scores of a table are means of.

  Args:
    table: the table.

  Returns:
    `num_values` that some setting has, of `num_expected`, and whether their
    mean is an official score: none is without domains.
  """
  there = np.isfinite(table.values).any(axis=0)
  return {
    "num_values": int(there.sum()),
    "num_expected": int(there.size),
    "is_official": all(s.is_target is not None for s in table.sections),
  }


def missing(about: Mapping[str, Any]) -> str:
  """Says what the scores of a sweep leave out.

  Args:
    about: what `over` returns.

  Returns:
    A sentence without a stop; "" where nothing is missing.
  """
  if about["num_values"] == about["num_expected"]:
    return ""
  num, of = about["num_values"], about["num_expected"]
  some = f"scores are means of {num} of {of} values"
  if about["is_official"]:
    return f"{some}: some machines lack normal clips of a domain"
  return f"{some} and no official scores: some machines have no domains"


def make_table(
  keys: Sequence[str],
  settings: list[dict[str, Any]],
  sections: Sequence[Section],
  values: np.ndarray,
) -> Table:
  """Makes the table.

  Args:
    keys: swept keys.
    settings: `{key: value}` a point.
    sections: the sections.
    values: `[points, S, 3]`.

  Returns:
    The table.
  """
  kept = np.array(values, np.float64)
  # Without known domains the ranked values by domain do not exist.
  for i, section in enumerate(sections):
    if section.is_target is None:
      kept[:, i, :2] = np.nan
  return Table(tuple(keys), settings, sections, kept)


def harmonic(values: np.ndarray) -> np.ndarray:
  """Harmonic means over all but the first axis.

  Values that no point has are left out, as the official score does.

  Args:
    values: `[points, ...]`.

  Returns:
    `[points]`; NaN where a value is missing that others have.
  """
  flat = values.reshape(len(values), -1)
  # A metric that no setting has is not held against any.
  there = np.isfinite(flat).any(axis=0)
  if not there.any():
    return np.full(len(values), np.nan)
  kept = flat[:, there]
  return official.harmonic_mean(kept)


def columns(table: Table, machine: str) -> np.ndarray:
  """Values of one machine, or of all.

  Args:
    table: the table.
    machine: its type, or `ALL`.

  Returns:
    `[points, 4]` AUC (source), AUC (target), pAUC and score.
  """
  names = table.machines if machine == ALL else [machine]
  own = table.values[:, table.rows_of(names)]
  parts = [harmonic(own[:, :, i]) for i in range(len(VALUES))]
  return np.stack([*parts, harmonic(own)], axis=1)


def best_of(scores: np.ndarray) -> int:
  """The first best point.

  Args:
    scores: `[points]`.

  Returns:
    Its number.

  Raises:
    InputError: if no point has a score.
  """
  if not np.isfinite(scores).any():
    raise errors.InputError(
      "found no setting with a score: the scores are not finite, or the test"
      " clips lack a class in every section."
    )
  return int(np.nanargmax(scores))


def left_out(table: Table) -> dict[str, Any] | None:
  """Chooses for each machine by the others, and scores there.

  Args:
    table: the table.

  Returns:
    `score` over all machines, each at its own choice, and machine to its
    choice; None with one machine.
  """
  names = table.machines
  if len(names) < 2:
    return None
  chosen, picked = {}, np.empty_like(table.values[:1])
  for name in names:
    # The machine itself has no vote in its own setting.
    others = harmonic(
      table.values[:, table.rows_of([n for n in names if n != name])]
    )
    if not np.isfinite(others).any():
      return None
    point = best_of(others)
    own = columns(table, name)[:, 3]
    rows = table.rows_of([name])
    picked[:, rows] = table.values[point : point + 1, rows]
    chosen[name] = {
      "settings": table.settings[point],
      "score": number(own[point]),
      "best_of_its_own": number(np.nanmax(own))
      if np.isfinite(own).any()
      else None,
    }
  return {"score": number(harmonic(picked)[0]), "machines": chosen}


def number(value: float) -> float | None:
  """A float for JSON; None for NaN."""
  return float(value) if np.isfinite(value) else None


def bootstrap(
  table: Table, point: int, score: Callable[[int], np.ndarray]
) -> dict[str, Any] | None:
  """How far the choice of test clips moves the score of one point.

  Args:
    table: the table.
    point: its number.
    score: section number to `[Q]` scores at that point.

  Returns:
    The 95 % interval of the official score, or None.
  """
  samples = np.stack(
    [
      uncertainty.resampled_metrics(score(i), s.is_anomaly, s.is_target, seed=i)
      for i, s in enumerate(table.sections)
    ],
    axis=1,
  )  # [R, S, 3]
  # The same values as in its score, so that the interval is of that number.
  there = np.isfinite(table.values[point]).reshape(-1)
  kept = samples.reshape(len(samples), -1)[:, there]
  ends = uncertainty.interval_of_score(kept)
  if ends is None:
    return None
  return {
    "kind": "percentile bootstrap over test clips within (domain, label)",
    "level": 0.95,
    "num_resamples": len(samples),
    "low": ends.low,
    "high": ends.high,
  }


def over_seeds(
  table: Table, seeds: Sequence[np.ndarray]
) -> dict[str, Any] | None:
  """Official score seed by seed.

  Args:
    table: the table.
    seeds: for each section `[K, Q]` scores.

  Returns:
    Scores, mean and standard deviation; None with one seed.
  """
  if len(seeds[0]) < 2:
    return None
  scores = []
  for k in range(len(seeds[0])):
    entries = [
      official.clip_metrics(s[k], table.sections[i].is_anomaly,
                            table.sections[i].is_target)
      for i, s in enumerate(seeds)
    ]  # fmt: skip
    scores.append(official.official_score(official.ranked_values(entries)))
  known = [s for s in scores if s is not None]
  return {"scores": scores, **uncertainty.seed_summary(known)}


def _machine(entries: Sequence[official.Metrics]) -> dict[str, float | None]:
  """Ranked values and score of one machine's sections."""
  means = {
    key: official.official_score([e[key] for e in entries]) for key in VALUES
  }
  return {**means, "score": official.machine_score(entries)}


def describe(
  table: Table,
  scores_at: Callable[[int, int], tuple[np.ndarray, np.ndarray]],
) -> dict[str, Any]:
  """The best setting, its uncertainty, and the choice by other machines.

  Args:
    table: the table.
    scores_at: (section number, point) to scores `[Q]` and seeds `[K, Q]`.

  Returns:
    Content of sweep.json about the choice.
  """
  scores = columns(table, ALL)[:, 3]
  point = best_of(scores)
  found = [scores_at(i, point) for i in range(len(table.sections))]
  ends = bootstrap(table, point, lambda i: found[i][0])
  # How many settings the test clips cannot tell from the best.
  inside = None if ends is None else int(np.sum(scores >= ends["low"]))
  entries = [
    official.clip_metrics(scores, s.is_anomaly, s.is_target)
    for s, (scores, _) in zip(table.sections, found, strict=True)
  ]
  machines = {
    name: _machine([entries[i] for i in table.rows_of([name])])
    for name in table.machines
  }
  score, taken = (
    official.official_score(official.ranked_values(entries)),
    over(table),
  )
  return {
    "over": taken,
    "best": {
      "settings": table.settings[point],
      "score": score,
      # A mean without the domains is not the challenge's.
      "official_score": score if taken["is_official"] else None,
      "machines": machines,
      "bootstrap": ends,
      "settings_within": inside,
      "seeds": over_seeds(table, [f[1] for f in found]),
    },
    "leave_one_machine_out": left_out(table),
    "warning": WARNING,
  }
