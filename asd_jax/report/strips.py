"""Long recordings over time: scores of their windows, and alarms."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from asd_jax.data import windows
from asd_jax.report import listing, record, text
from asd_jax.scores import threshold

TITLE = "Recordings over time"
# Units of a picture, which is stretched to the width of the page.
_WIDTH, _HEIGHT = 1000.0, 100.0
# More windows are drawn together: a screen has no more columns.
_MOST_DRAWN = 1000
_MOST_NAMED = 5
_NUM_TICKS = 5


def sentence(one: Mapping[str, Any], how: record.Alarms) -> str:
  """What is said of a recording, in one plain sentence.

  Args:
    one: of the recording, `recordings.files` of results.json.
    how: what makes an alarm.

  Returns:
    Such as `2 alarms (12:30 to 13:10, 40:00 to 40:40); 41 of 366 windows of
    10 s anomalous`.
  """
  if one["alarms"] is None:
    return f"no decision possible on {one['windows']} windows"
  spans, num = one["alarms"][:_MOST_NAMED], len(one["alarms"])
  named = [" to ".join(map(windows.clock, span)) for span in spans]
  named += [f"{num - _MOST_NAMED} more"] * (num > _MOST_NAMED)
  places = f" ({', '.join(named)})" if named else ""
  return (
    f"{text.plural(num, 'alarm') if num else 'no alarm'}{places};"
    f" {one['anomalous_windows']} of {one['windows']} windows of"
    f" {how.window_seconds:g} s anomalous"
  )


def promise(how: record.Alarms) -> str:
  """What makes an alarm, and how many to expect of normal recordings.

  Args:
    how: the rule.

  Returns:
    A sentence without a full stop.
  """
  rule = (
    f"{how.after} anomalous windows in a row make an alarm"
    if how.after > 1
    else "each anomalous window makes an alarm"
  )
  parts = []
  if how.measured is not None:
    num = text.plural(how.measured, "false alarm") if how.measured else "none"
    parts.append(
      f"{num} in {how.hours:.3g} h of training windows in the order of time"
      f" ({how.measured / how.hours:.2g} an hour)"
    )
  if how.by_chance is not None:
    parts.append(
      f"{how.by_chance:.2g} an hour by chance if windows were independent,"
      " which neighbours are not"
    )
  if not parts:
    return f"{rule}; how many are false is not known (no rate is promised)"
  return f"{rule}; on normal recordings {'; '.join(parts)}"


def _drawn(one: record.Recording) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Starts, highest scores and flags of the columns of a picture."""
  step = -(-len(one.score) // _MOST_DRAWN)
  cut = np.arange(0, len(one.score), step)
  flagged = one.decision == threshold.ANOMALOUS
  return (
    one.start_seconds[cut],
    np.maximum.reduceat(one.score, cut),
    np.logical_or.reduceat(flagged, cut),
  )


def _picture(one: record.Recording, said: Mapping[str, Any]) -> str:
  """The scores as a line, alarms shaded, flagged windows ticked below."""
  start, score, flagged = _drawn(one)
  low = min(one.usual[0], float(score.min()))
  high = max(one.usual[1], float(score.max()))
  across = lambda t: _WIDTH * np.minimum(t / one.seconds, 1.0)
  up = lambda s: 88 - 84 * (s - low) / (high - low or 1.0)
  left, right = across(start), across(np.append(start[1:], one.seconds))
  line = " ".join(
    f"{'L' if i else 'M'}{a:.1f} {y:.1f}H{b:.1f}"
    for i, (a, b, y) in enumerate(zip(left, right, up(score), strict=True))
  )
  spans = "".join(
    f'<rect x="{across(a):.1f}" y="0" width="{across(b) - across(a):.1f}"'
    f' height="{_HEIGHT:.0f}" fill="var(--anomaly)" opacity=".25"/>'
    for a, b in said["alarms"] or ()
  )
  ticks = "".join(
    f"M{a:.1f} 92H{b:.1f}V100H{a:.1f}z"
    for a, b in zip(left[flagged], right[flagged], strict=True)
  )
  limit = up(one.usual[1])
  return (
    f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img"'
    ' preserveAspectRatio="none" aria-label="Scores over time of'
    f' {text.escape(one.name)}">{spans}'
    f'<path d="M0 {limit:.1f}H{_WIDTH:.0f}" class="limit"/>'
    f'<path d="{line}" class="line"/><path d="{ticks}" class="ticks"/></svg>'
  )


def _axis(seconds: float) -> str:
  places = np.linspace(0.0, seconds, _NUM_TICKS)
  marks = "".join(f"<span>{windows.clock(t)}</span>" for t in places)
  return f'<div class="axis" aria-hidden="true">{marks}</div>'


def _strip(
  one: record.Recording,
  said: Mapping[str, Any],
  how: record.Alarms,
) -> str:
  words = sentence(said, how)
  if said["alarms"]:
    words = f'<span class="alarm">{words}</span>'
  return (
    f'<figure class="strip"><figcaption><span class="file">'
    f"{text.escape(one.name)}</span> {listing.listen(one.link, one.name)}"
    f" {words}</figcaption>{_picture(one, said)}{_axis(one.seconds)}"
    "</figure>"
  )


def _of_section(
  title: str, part: record.Section, found: Mapping[str, Any]
) -> str:
  """All recordings of one section, those with most alarms first."""
  how = record.Alarms(**found["alarm"])
  both = zip(part.recordings, found["files"], strict=True)
  strips = "".join(
    _strip(one, said, how)
    for one, said in sorted(
      both, key=lambda pair: -len(pair[1]["alarms"] or ())
    )
  )
  return f"<h3>{title}</h3><p>{promise(how)}.</p>{strips}"


def section(run: record.Run) -> str:
  """Every long recording over time.

  Args:
    run: the run.

  Returns:
    HTML, "" without any.
  """
  bodies = []
  for machine, entry in run.results["machines"].items():
    for number, part in entry["sections"].items():
      if found := part.get("recordings"):
        title = text.escape(machine)
        several = len(entry["sections"]) > 1
        title += f" section {text.escape(number)}" * several
        own = run.sections[machine][number]
        bodies.append(_of_section(title, own, found))
  if not bodies:
    return ""
  return (
    f'<section id="recordings"><h2>{TITLE}</h2><p>The line is the score of'
    " each window, higher is more anomalous; nine of ten training clips lie"
    " below the dashed line. Marks at the foot are windows that are called"
    " anomalous, shaded are alarms.</p>"
    f"{''.join(bodies)}</section>"
  )
