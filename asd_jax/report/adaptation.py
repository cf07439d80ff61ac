"""What encoders were adapted to, and the classes that they learned to tell."""

from collections.abc import Mapping
from typing import Any

from asd_jax.report import record, text

TITLE = "Adapted encoders"
_COLUMNS = tuple(
  text.Column(title, hint)
  for title, hint in (
    ("Class", ""),
    ("Machines", ""),
    ("Source", "normal clips of the source domain"),
    ("Target", "normal clips of the target domain"),
    ("Unknown", "normal clips of unknown domain"),
  )
)


def _classes(found: list[Mapping[str, Any]], name: str) -> str:
  """The classes of one criterion, folded away: there may be hundreds."""
  rows = [
    [
      text.escape(c["name"] or "none"),
      text.escape(", ".join(c["machines"])),
      *(str(c[k]) for k in ("source", "target", "unknown")),
    ]
    for c in found
  ]
  num = sum(c["name"] is not None for c in found)
  title = f"{num} class{'es' * (num != 1)} of training clips"
  table = text.table(title, _COLUMNS, rows, name=name)
  return f"<details><summary>{title}</summary>{table}</details>"


def _shares(found: Mapping[str, float]) -> str:
  """How much of near a learned blend takes; "" where there is none."""
  if not found:
    return ""
  each = ", ".join(
    f"{text.escape(name)} {share:.2f}" for name, share in sorted(found.items())
  )
  return f"<p>Share of near in the blend of near and far: {each}.</p>"


def section(run: record.Run) -> str:
  """Each adapted encoder, its clips and its classes.

  Args:
    run: the run.

  Returns:
    HTML; "" where nothing was adapted.
  """
  parts = []
  about = run.results.get("encoders", {}).get("adapted", {})
  for i, (source, facts) in enumerate(sorted(about.items())):
    parts.append(
      f"<h3>{text.escape(source)}</h3><p>Adapted"
      f" ({text.escape(facts['trains'])}) to"
      f" {text.plural(facts['num_clips'], 'normal clip')} of"
      f" {text.plural(len(facts['machines']), 'machine')}:"
      f" {text.escape(', '.join(facts['machines']))}.</p>"
    )
    parts.append(_shares(facts.get("near_share") or {}))
    parts += [
      _classes(found, f"classes-{i + 1}-{k + 1}")
      for k, found in enumerate(facts["classes"])
    ]
  if not parts:
    return ""
  body = "".join(parts)
  return f'<section id="adapted"><h2>{TITLE}</h2>{body}</section>'
