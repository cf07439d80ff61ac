"""Text of a page: escaping, numbers, tables, the frame and its style sheet."""

import collections
import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# Nothing may be fetched, whatever a file name holds.
_POLICY = (
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
  " media-src data:"
)
MISSING = '<span class="none">&ndash;<span class="sr">unknown</span></span>'


def visible(text: object) -> str:
  """Shows characters that cannot be printed or encoded as escapes.

  Control and direction marks could make a name look like another; surrogates
  stand for bytes of a file name that are not UTF-8.
  """
  return "".join(
    # isprintable is False for exactly these.
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
  # A threshold is infinite where there were too few clips to set one.
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
    # Row heads let a screen reader say which machine a number is of.
    first, *rest = cells
    cells = [f'<th scope="row">{first}</th>', *(f"<td>{c}</td>" for c in rest)]
    return f"<tr>{''.join(cells)}</tr>\n"

  def head(column: Column) -> str:
    # Heads are short; what they mean is a hover away.
    hint = f' title="{escape(column.hint)}"' if column.hint else ""
    return f'<th scope="col"{hint}>{column.title}</th>'

  heads = "".join(map(head, columns))
  body = "".join(map(line, rows))
  end = "".join(map(line, foot))
  end = f"<tfoot>{end}</tfoot>" if end else ""
  return (
    # Without a tab stop the keyboard could not scroll it.
    f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}">'
    f'<table><caption id="{name}"><span>{caption}</span></caption>'
    f"<thead><tr>{heads}</tr></thead><tbody>\n{body}</tbody>{end}</table></div>"
  )


def distinct(body: str) -> str:
  """Gives the ids inside equal pictures different names.

  Args:
    body: HTML with pictures of `figures.svg`.

  Returns:
    The same page, in which no id stands twice.
  """
  seen: collections.Counter[str] = collections.Counter()

  def renamed(found: re.Match[str]) -> str:
    picture = found[0]
    prefix = re.search(r'[#"](p[0-9a-f]{8})', picture)
    if prefix is None:
      return picture
    seen[prefix[1]] += 1
    # The first keeps its names: a page without equal pictures is as it was.
    if (num := seen[prefix[1]]) == 1:
      return picture
    return re.sub(rf'([#"]{prefix[1]})', rf"\g<1>n{num}", picture)

  return re.sub(r"<svg .*?</svg>", renamed, body, flags=re.DOTALL)


def page(title: str, body: str) -> str:
  """A page that needs nothing else and may load nothing.

  Args:
    title: its title, HTML.
    body: its content, HTML.

  Returns:
    HTML.
  """
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
    # Else a phone lays the page out as wide as a desk's and shrinks it.
    '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
    f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    f"<title>{title}</title>\n<style>{CSS}</style></head>\n"
    f"<body>{distinct(body)}</body></html>\n"
  )


def warning(results: Mapping[str, Any]) -> str:
  """Says in large letters where no number can be trusted.

  Args:
    results: content of results.json or sweep.json.

  Returns:
    HTML; "" if there is nothing to say.
  """
  # A number without meaning must not pass for a result.
  if not results.get("encoders", {}).get("random_weights"):
    return ""
  return (
    '<p class="warning" role="note"><b>RANDOM WEIGHTS</b> The encoders of this'
    " run have random weights. It shows that the system runs and how fast; its"
    " scores, metrics and decisions mean nothing.</p>\n"
  )


# Phone first; light, dark and paper.
CSS = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1b1f24;--soft:#57606a;
--faint:#9aa4ae;--line:#d8dee4;--panel:#f6f8fa;--normal:#0067a3;
--anomaly:#c04a00;--accent:#8a3ffc;--focus:#0550ae;--stop:#c0161b}
@media (prefers-color-scheme:dark){:root{--bg:#111418;--ink:#e6e9ec;
--soft:#a3adb8;--faint:#6b7681;--line:#2d343c;--panel:#191e24;
--normal:#58b0ec;--anomaly:#f79a4b;--accent:#c29bff;--focus:#79b8ff;
--stop:#ff7b72}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0 auto;padding:1.25rem 1rem 4rem;max-width:62rem;
background:var(--bg);color:var(--ink);font:1rem/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:break-word}
h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0 .3rem;
overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.6rem 0 .6rem;padding-top:.9rem;
border-top:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 .4rem;overflow-wrap:anywhere}
p{margin:.4rem 0 .8rem;max-width:46rem}
a{color:var(--focus)}
small,.soft,.diff{color:var(--soft);font-size:.85em}
.sr{position:absolute;width:1px;height:1px;overflow:hidden;
clip-path:inset(50%);white-space:nowrap}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:.5rem;background:var(--bg);padding:.4rem .8rem;
z-index:1}
:focus-visible{outline:3px solid var(--focus);outline-offset:2px}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;
padding:0;margin:.8rem 0}
nav a{display:inline-block;padding:.25rem 0}
.warning{border:3px solid var(--stop);border-radius:.5rem;
padding:.8rem 1rem;max-width:none;font-size:1.1rem}
.warning b{display:block;font-size:2.4rem;line-height:1.15;
color:var(--stop)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));
gap:.8rem;margin:1rem 0;padding:0;list-style:none}
.tiles li{background:var(--panel);border:1px solid var(--line);
border-radius:.5rem;padding:.8rem 1rem}
.tiles b{display:block;font-size:1.9rem;line-height:1.25;font-weight:650}
.tiles span{color:var(--soft);font-size:.9rem}
/* Positioned, or what only a screen reader finds would widen a phone's page. */
.scroll{position:relative;overflow-x:auto;margin:.6rem 0 1rem}
.long .scroll{max-height:36rem;overflow-y:auto}
.long thead th{position:sticky;top:0;background:var(--bg)}
.list tbody th{font-weight:400;min-width:12rem;max-width:24rem;
overflow-wrap:anywhere}
.list th,.list td{text-align:left;font-size:.92rem}
.list td:nth-last-child(1),.list th:last-child{text-align:right}
.tag{display:none}
.words{white-space:normal;min-width:9.5rem;display:inline-block}
.alarm{color:var(--anomaly);font-weight:650}
table{border-collapse:collapse;min-width:100%}
caption{text-align:left;color:var(--soft);font-size:.9rem;
padding-bottom:.4rem}
caption span{display:inline-block;position:sticky;left:0;
max-width:min(60rem,calc(100vw - 2.2rem))}
th,td{padding:.35rem .6rem;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--line);vertical-align:top}
th:first-child,td:first-child{text-align:left;padding-left:0}
thead th{font-size:.85rem;color:var(--soft);font-weight:600;
vertical-align:bottom}
/* With overflow-wrap:anywhere short names would be cut into letters. */
tbody th,tfoot th{font-weight:600;max-width:16rem;white-space:normal}
tfoot th,tfoot td{font-weight:650;border-bottom:0;
border-top:2px solid var(--faint)}
td small,td .diff{display:block;line-height:1.3}
th.sub,.sub{font-weight:400;color:var(--soft)}
.pair{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;align-items:flex-end}
.machine-pictures .pair{align-items:flex-start}
.clip .pair{align-items:stretch}
.clip figure{display:flex;flex-direction:column;max-width:28rem}
.clip figure svg{margin-top:auto}
.pair figure{flex:1 1 17rem;min-width:0;margin:0}
.machine-pictures{margin:1.4rem 0}
@media screen{.clip,.machine-pictures{content-visibility:auto;
contain-intrinsic-size:auto 26rem}}
figure{margin:.5rem 0}
figcaption{color:var(--soft);font-size:.85rem}
svg{display:block;width:100%;height:auto;font-family:inherit}
.clip{border:1px solid var(--line);border-radius:.5rem;
padding:.9rem 1rem;margin:1rem 0}
.machine{display:block;color:var(--soft);font-weight:600;font-size:.85rem}
.file{overflow-wrap:anywhere}
.facts{display:flex;flex-wrap:wrap;gap:.1rem 1.2rem;list-style:none;
padding:0;margin:0 0 .5rem;font-size:.92rem}
.why{margin:.3rem 0 .5rem;padding-left:1.1rem;font-size:.92rem}
.player{display:flex;align-items:center;gap:.6rem;margin:.3rem 0;
font-size:.85rem;color:var(--soft)}
.player>span:first-child{flex:0 0 3rem}
audio{flex:1;min-width:0;max-width:26rem;height:2.4rem}
@media (max-width:40rem){tbody th,tfoot th{max-width:9rem}
th,td{padding:.35rem .4rem}
.list thead{display:none}
.list tr{display:flex;flex-wrap:wrap;gap:0 .9rem;padding:.45rem 0;
border-bottom:1px solid var(--line)}
.list tbody th{flex:1 0 100%;min-width:0;max-width:none}
.list th,.list td{padding:0;border:0}.list td:empty{display:none}
.tag{display:inline;color:var(--soft)}}
.strip{margin:1rem 0}
.strip svg{height:6rem;background:var(--panel);border:1px solid var(--line)}
.strip path{vector-effect:non-scaling-stroke;fill:none}
.strip .line{stroke:var(--normal);stroke-width:1.5px}
.strip .limit{stroke:var(--faint);stroke-dasharray:5 4}
.strip .ticks{fill:var(--anomaly)}
.axis{display:flex;justify-content:space-between;color:var(--soft);
font-size:.8rem}
summary{cursor:pointer;padding:.4rem 0;font-weight:600}
pre{background:var(--panel);border:1px solid var(--line);
border-radius:.5rem;padding:.8rem;overflow:auto;font-size:.8rem;
max-height:32rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;
margin:.4rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.notes li{overflow-wrap:anywhere;margin:.2rem 0}
@media print{:root{color-scheme:light;--bg:#fff;--ink:#000;--soft:#444;
--faint:#888;--line:#bbb;--panel:#fff;--normal:#0067a3;--anomaly:#c04a00;
--accent:#8a3ffc;--focus:#000}
body{max-width:none;padding:0;font-size:9.5pt}
nav,audio,.player,.skip{display:none}
.clip,.machine-pictures,tr,figure{break-inside:avoid}
.clip{margin:.5rem 0;padding:.5rem .8rem}
h2,h3,caption{break-after:avoid}
.scroll{overflow:visible}th,td{padding:.2rem .35rem}
thead{display:table-header-group}
pre{max-height:none;white-space:pre-wrap;overflow-wrap:anywhere}
svg{max-width:8.5cm!important}
.long .scroll{max-height:none}
details:not(.closed)::details-content{content-visibility:visible;block-size:auto}}
@page{margin:15mm}
"""


def comparison(
  title: str, runs: str, lead: str, sections: Mapping[str, str]
) -> str:
  """A page of a comparison; every argument is HTML.

  Args:
    title: of the page.
    runs: what it is about.
    lead: what to read first.
    sections: title to content; empty ones are left out.

  Returns:
    HTML that needs nothing else.
  """
  bodies = "".join(
    f"<section><h2>{name}</h2>{body}</section>\n"
    for name, body in sections.items()
    if body
  )
  return page(
    title,
    '<header><span class="soft">Comparison</span>'
    f"<h1>{title}</h1>{runs}</header>\n"
    f"<main>{lead}\n{bodies}</main>",
  )
