"""Decisions in plain words, for the page and for the console."""

from collections.abc import Mapping
from typing import Any

from asd_jax.report import record, text
from asd_jax.scores import threshold

_WORDS = {
  threshold.ANOMALOUS: "anomalous",
  threshold.NORMAL: "normal",
  threshold.UNDECIDED: "no decision",
}


def decision(kind: int) -> str:
  """What a clip is called.

  Args:
    kind: of `record`.

  Returns:
    Words.
  """
  return _WORDS[kind]


def rate(value: float) -> str:
  """A promised rate as people give it: `0.1`."""
  return f"{value:.3g}"


def higher(p_value: float | None, how: record.Decision) -> str:
  """How many of the normal clips stand out as a clip does.

  Args:
    p_value: of the clip; None if it is unknown.
    how: how the section's clips are decided.

  Returns:
    `1 of 60 normal clips scores as high or higher`; of two domains the one
    whose p-value counts, `1 of 8 normal target clips scores as high or
    higher`. "" where nothing can be counted.
  """
  counts: Mapping[str, int] = {"normal": how.num_train}
  if how.by_domain:
    counts = {f"normal {domain}": n for domain, n in how.of_domain.items()}
  if p_value is None or not min(counts.values(), default=0):
    return ""
  # p = (1 + number) / (n + 1)
  number = {d: p_value * (n + 1) - 1 for d, n in counts.items()}
  whole = {d: round(x) for d, x in number.items() if abs(x - round(x)) < 1e-6}
  if len(whole) > 1:
    # The larger p-value counts, and it may be that of either domain.
    said = (f"{num} of {counts[d]} {d}" for d, num in whole.items())
    return f"at most {' and '.join(said)} clips score as high or higher"
  ((kind, num),) = whole.items()
  clips = text.plural(counts[kind], f"{kind} clip")
  verb = "score" if num > 1 else "scores"
  # Equal scores count against a clip.
  return f"{num or 'none'} of {clips} {verb} as high or higher"


def p_value(value: float) -> str:
  """A p-value with three decimals."""
  return f"{value:.3f}"


def share(part: int, whole: int, interval: Any) -> str:
  """A measured share with its interval.

  Args:
    part: clips of a kind.
    whole: of how many.
    interval: 95 % interval, fractions; None of no clips.

  Returns:
    `3 of 22 (13.6 %, 95 % interval 5 to 33 %)`.
  """
  if not whole:
    return "0 of 0"
  low, high = (100 * end for end in interval)
  return (
    f"{part} of {whole} ({100 * part / whole:.1f} %, 95 % interval"
    f" {low:.0f} to {high:.0f} %)"
  )


# Beside the decisions of a kind those of the other clips with the same label,
# and where the interval of their share is.
_BESIDE = {
  "false_alarms": ("true_normals", "false_alarm_rate_interval"),
  "true_alarms": ("misses", "recall_interval"),
}


def measured(rates: Mapping[str, Any], kind: str) -> str:
  """Decisions of a kind, as `share` of the clips that could have it.

  Args:
    rates: what `metrics.decisions.rates` returns.
    kind: `false_alarms`, of the normal clips, or `true_alarms`, of the
      anomalies.

  Returns:
    Words.
  """
  found, (rest, interval) = rates["confusion"], _BESIDE[kind]
  return share(found[kind], found[kind] + found[rest], rates[interval])
