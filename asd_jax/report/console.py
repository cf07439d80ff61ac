"""What a run says on the console of the clips that it calls anomalous."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asd_jax.report import record, strips, text, words

# A screen's worth; the rest is in `scores/` and on the page.
_MAX_NAMED = 20


def _named(flagged: list[Mapping[str, Any]], how: record.Decision) -> list[str]:
  lines = []
  for clip in flagged[:_MAX_NAMED]:
    why = words.higher(clip["p_value"], how) or f"score {clip['score']:.4g}"
    # Marks that steer a terminal are shown as escapes.
    lines.append(f"  {text.visible(clip['file'])}: {why}")
  more = len(flagged) - _MAX_NAMED
  return lines + [f"  and {more} more, see scores/"] * (more > 0)


def unpromised(rule: str) -> str:
  """Says that a rule promises nothing."""
  return f"no false-alarm rate is promised (rule {rule})"


def promise(hows: Sequence[record.Decision], num: int) -> str:
  """What is promised of decisions on clips.

  Args:
    hows: how they were decided, of each section with any.
    num: the clips.

  Returns:
    Words.
  """
  if not all(how.promises for how in hows):
    return unpromised(hows[0].rule)
  rate = hows[0].false_alarm_rate
  said = f"about {rate * num:.3g} false alarms expected at the stated rate"
  # Scores of clips that were seen are low, and so is the threshold.
  if any(how.in_sample for how in hows):
    return f"{said} {rate:g}, but more are likely (threshold.folds=0)"
  return f"{said} {rate:g} if all are normal"


def _section(title: str, entry: Mapping[str, Any]) -> list[str]:
  how = record.Decision(**entry["decision"])
  if not how.possible:
    return [f"{title}: no decision possible: {how.problem}"]
  num = text.plural(entry["n_test"], "clip")
  lines = [f"{title}: {len(entry['flagged'])} of {num} anomalous"]
  found = entry.get("recordings")
  # Of long recordings it is said below.
  short = entry["n_test"] - (len(found["files"]) if found else 0)
  if short and (how.in_sample or not how.promises):
    lines[0] += f"; {promise([how], short)}"
  lines += _named(entry["flagged"], how)
  if found:
    alarms = record.Alarms(**found["alarm"])
    lines += [
      f"  {text.visible(one['file'])}: {strips.sentence(one, alarms)}"
      for one in found["files"][:_MAX_NAMED]
    ]
    lines.append(f"  {strips.promise(alarms)}")
  return lines


def lines(results: record.Results) -> Iterator[str]:
  """Which clips are called anomalous, the worst of each machine first.

  Args:
    results: content of results.json.

  Yields:
    Lines.
  """
  for machine, entry in results["machines"].items():
    for section, part in entry["sections"].items():
      title = text.visible(machine)
      if len(entry["sections"]) > 1:
        title += f" section {section}"
      if part["n_test"]:
        yield from _section(title, part)
  rates = results["measured"].get("all")
  if rates:
    yield f"false alarms: {words.measured(rates, 'false_alarms')}"
    yield f"anomalies found: {words.measured(rates, 'true_alarms')}"
