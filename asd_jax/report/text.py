"""Text of the report: escaping, numbers and tables."""

import html
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MISSING = '<span class="none">&ndash;<span class="sr">unknown</span></span>'


def visible(text: object) -> str:
  """Shows characters that cannot be printed or encoded as escapes.

  Control and direction marks could make a name look like another; surrogates
  stand for bytes of a file name that are not UTF-8.
  """
  return "".join(
    c if c.isprintable() else c.encode("unicode_escape").decode()
    for c in str(text)
  )


def escape(text: object) -> str:
  """Any text as HTML, safe in content and in quoted attributes."""
  return html.escape(visible(text), quote=True)


def escape_lines(text: str) -> str:
  """`escape` that keeps line ends."""
  return "\n".join(map(escape, text.split("\n")))


def percent(value: float | None, *, digits: int = 2) -> str:
  """A fraction as per cent without the sign, or a dash."""
  return MISSING if value is None else f"{100 * value:.{digits}f}"


def number(value: float | None) -> str:
  """A score with four significant digits, or a dash."""
  if value is None:
    return MISSING
  if not math.isfinite(value):
    return "infinite"
  return f"{value:.4g}".replace("-", "&minus;")


def difference(value: float | None) -> str:
  """A signed difference of fractions, in points; empty if unknown."""
  if value is None:
    return ""
  sign = "+" if value >= 0 else "&minus;"
  return f'<span class="diff">{sign}{abs(100 * value):.2f}</span>'


def hertz(value: float) -> str:
  """A frequency for people."""
  return f"{value:.0f} Hz" if value < 1000 else f"{value / 1000:.2g} kHz"


def plural(num: int, noun: str) -> str:
  """`1 clip`, `2 clips`."""
  return f"{num} {noun}" + ("" if num == 1 else "s")


class Column(NamedTuple):
  """Head of a column.

  Attributes:
    title: HTML.
    hint: what it means, plain text for a tooltip; may be empty.
  """

  title: str
  hint: str = ""


def table(
  caption: str,
  columns: Sequence[Column],
  rows: Iterable[Sequence[str]],
  *,
  name: str,
  foot: Iterable[Sequence[str]] = (),
) -> str:
  """A table whose first column heads its rows.

  Args:
    caption: HTML.
    columns: heads.
    rows: cells, HTML; the first of each is the row's head.
    name: id of the caption.
    foot: rows of the foot.

  Returns:
    HTML; wide tables scroll in a region that the keyboard can reach.
  """

  def line(cells: Sequence[str]) -> str:
    first, *rest = cells
    cells = [f'<th scope="row">{first}</th>', *(f"<td>{c}</td>" for c in rest)]
    return f"<tr>{''.join(cells)}</tr>\n"

  def head(column: Column) -> str:
    hint = f' title="{escape(column.hint)}"' if column.hint else ""
    return f'<th scope="col"{hint}>{column.title}</th>'

  heads = "".join(map(head, columns))
  body = "".join(map(line, rows))
  end = "".join(map(line, foot))
  end = f"<tfoot>{end}</tfoot>" if end else ""
  return (
    f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}">'
    f'<table><caption id="{name}"><span>{caption}</span></caption>'
    f"<thead><tr>{heads}</tr></thead><tbody>\n{body}</tbody>{end}</table></div>"
  )
