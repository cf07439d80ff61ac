"""Long recordings: how a section cuts them, and what their windows say."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from asd_jax import errors
from asd_jax.data import clips, windows
from asd_jax.engine import decide, said
from asd_jax.engine import section as section_lib
from asd_jax.scores import alarm, p_value

_HOUR = 3600.0
_OF_WINDOW = re.compile(r"(.*) at ([\d:]+): (.*)", re.DOTALL)


def settings(config: Mapping[str, Any]) -> tuple[float, float, int]:
  """Window and hop in seconds, and windows that make an alarm, of a config.

  Args:
    config: plain data; an old detector's has none of them.

  Returns:
    Each; 0 s stands for what the training clips say.
  """
  return (
    config.get("window_seconds", 0.0),
    config.get("hop_seconds", 0.0),
    config.get("alarm_after", alarm.AFTER),
  )


def check(config: Mapping[str, Any]) -> None:
  """Refuses settings that cannot be.

  Args:
    config: plain data.

  Raises:
    InputError: for a length below zero, and an alarm after less than one
      window.
  """
  window, hop, after = settings(config)
  for key, value in (("window_seconds", window), ("hop_seconds", hop)):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < float("inf"):
      raise errors.InputError(
        f"config: {key}: found {value!r}, expected seconds, or 0 for what the"
        " training clips say."
      )
  whole = isinstance(after, int) and not isinstance(after, bool)
  if not whole or after < 1:
    raise errors.InputError(
      f"config: alarm_after: found {after!r}, expected 1 or more."
    )


def rule(train: Sequence[clips.Clip], config: Mapping[str, Any]) -> windows.Cut:
  """How a section cuts the recordings that it scores.

  Args:
    train: its training clips.
    config: plain data.

  Returns:
    The rule.

  Raises:
    InputError: for a hop of more than a window.
  """
  window, hop, _ = settings(config)
  how = windows.rule(train, window, hop)
  # Sound between windows would never be heard.
  if how.hop_seconds > how.window_seconds:
    raise errors.InputError(
      f"config: hop_seconds: found {hop!r}, expected at most a window"
      f" ({how.window_seconds:g} s)."
    )
  return how


def training(
  train: Sequence[clips.Clip], config: Mapping[str, Any]
) -> tuple[clips.Clip, ...]:
  """Training clips, of long recordings their windows.

  Args:
    train: whole files, of any machines and sections.
    config: plain data.

  Returns:
    The same where there is no long recording, see `windows.of_training`.
  """
  groups: dict[tuple[str, str], list[clips.Clip]] = {}
  for clip in train:
    groups.setdefault((clip.machine, clip.section), []).append(clip)
  length = settings(config)[0]
  found = [c for g in groups.values() for c in windows.of_training(g, length)]
  return tuple(found if len(found) > len(train) else train)


def facts(
  train: Sequence[clips.Clip],
  config: Mapping[str, Any],
  flagged: np.ndarray | None,
) -> dict[str, Any]:
  """What a detector says of windows, see `section.Section`.

  Args:
    train: training clips of a section.
    config: plain data.
    flagged: `[N]` which of them are called anomalous; None where that is
      unknown.

  Returns:
    Plain data.
  """
  order, lengths, heard = windows.order(train), [], 0.0
  rows = [] if flagged is None else np.argsort(order)[np.sum(order < 0) :]
  for _, group in itertools.groupby(rows, lambda i: train[i].path):
    own = [*group]
    heard += sum(windows.seconds(train[i]) for i in own)
    found = alarm.runs(np.asarray(flagged)[own])
    lengths += [int(end - start) for start, end in found]
  return {
    **rule(train, config)._asdict(),
    "alarm_after": settings(config)[2],
    "training_hours": heard / _HOUR,
    "training_runs": sorted(lengths, reverse=True),
  }


def flagged(
  how: decide.Rule,
  limit: float | None,
  own: np.ndarray | None,
  is_target: np.ndarray,
) -> np.ndarray | None:
  """Which training clips are called anomalous by models without them.

  Args:
    how: the rule.
    limit: threshold on the score, where the rule has one.
    own: `[N]` scores by models that have not seen the clips; None without.
    is_target: `[N]` domains.

  Returns:
    `[N]`; None where it is unknown.
  """
  if own is None:
    return None
  if how.by_score:
    return None if limit is None else own > limit
  p = p_value.own_p_values(own, is_target, by_domain=how.by_domain)
  return p_value.alarms(p, how.false_alarm_rate)


def alarms_of(facts: Mapping[str, Any], how: decide.Rule) -> dict[str, Any]:
  """False alarms to expect on normal recordings.

  Args:
    facts: of a section that cuts recordings.
    how: its rule.

  Returns:
    What `report.record.Alarms` holds.
  """
  about, chance = facts["windows"], None
  after, hop = about["alarm_after"], about["hop_seconds"]
  if how.name == "conformal":
    rate = p_value.nominal_rate(facts["num_train"], how.false_alarm_rate)
    chance = alarm.by_chance(rate, after, hop)
  hours, measured = about["training_hours"], None
  if hours:
    measured = sum(length >= after for length in about["training_runs"])
  return {
    "after": after,
    "window_seconds": about["window_seconds"],
    "hop_seconds": hop,
    "by_chance": chance,
    "measured": measured,
    "hours": hours,
  }


def join(
  plan: windows.Windowed, found: said.Judged, section: section_lib.Section
) -> said.Judged:
  """What is said of files, from what is said of their windows.

  Args:
    plan: whole files and windows.
    found: what is said of each of them.
    section: that scored them.

  Returns:
    Of a recording what is said of one of its windows, see `alarm.weakest`.
  """
  score, p = np.asarray(found.scores.fused), found.p_values
  chosen, long_rows = [], []
  for i, own in enumerate(plan.rows):
    place = 0
    if plan.clips[own.start].recording is not None:
      place = alarm.weakest(
        score[own],
        p[own],
        section.facts["windows"]["alarm_after"],
        by_score=section.rule.by_score,
      )
      long_rows += [(i, row) for row in own]
    chosen.append(own[place])
  file, rows = np.array(long_rows, np.int64).reshape(-1, 2).T
  pick = np.array(chosen, np.int64)
  return found._replace(
    scores=jax.tree.map(lambda x: x[pick], found.scores),
    p_values=p[pick],
    decisions=found.decisions[pick],
    clips=[plan.clips[i] for i in chosen],
    windows=said.Windows(
      file,
      np.array([windows.start_seconds(plan.clips[i]) for i in rows]),
      score[rows],
      found.decisions[rows],
      p[rows],
    ),
  )


def together(notes: Sequence[str], some: Sequence[clips.Clip]) -> list[str]:
  """Notes on clips; what is said of many windows of a recording is said once.

  Args:
    notes: `title: text` each, see `windows.title`.
    some: the clips.

  Returns:
    Those on files as they are, then those on windows.
  """
  titles = {windows.title(c) for c in some if c.recording is not None}
  out, kinds = [], {}
  for note in notes:
    found = _OF_WINDOW.fullmatch(note)
    if not found or f"{found[1]} at {found[2]}" not in titles:
      out.append(note)
      continue
    # A share of clipped samples is another one in each window.
    key = found[1], re.sub(r"[-\d.]+", "", found[3])
    kinds.setdefault(key, []).append(found)
  for own in kinds.values():
    file, at, text = own[0].groups()
    more = f" and {len(own) - 1} more" * (len(own) > 1)
    out.append(f"{file}: {text} (window at {at}{more})")
  return out
