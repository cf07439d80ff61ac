"""Style sheet of the report: phone first, light, dark and paper."""

from collections.abc import Mapping
from typing import Any

_POLICY = (
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
  " media-src data:"
)


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
    '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
    f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    f"<title>{title}</title>\n<style>{CSS}</style></head>\n"
    f"<body>{body}</body></html>\n"
  )


def warning(results: Mapping[str, Any]) -> str:
  """Says in large letters where no number can be trusted.

  Args:
    results: content of results.json or sweep.json.

  Returns:
    HTML; "" if there is nothing to say.
  """
  if not results.get("encoders", {}).get("random_weights"):
    return ""
  return (
    '<p class="warning" role="note"><b>RANDOM WEIGHTS</b> The encoders of this'
    " run have random weights. It shows that the system runs and how fast; its"
    " scores, metrics and decisions mean nothing.</p>\n"
  )


CSS = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1b1f24;--soft:#57606a;
--faint:#9aa4ae;--line:#d8dee4;--panel:#f6f8fa;--normal:#0067a3;
--anomaly:#c04a00;--accent:#8a3ffc;--focus:#0550ae}
@media (prefers-color-scheme:dark){:root{--bg:#111418;--ink:#e6e9ec;
--soft:#a3adb8;--faint:#6b7681;--line:#2d343c;--panel:#191e24;
--normal:#58b0ec;--anomaly:#f79a4b;--accent:#c29bff;--focus:#79b8ff}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0 auto;padding:1.25rem 1rem 4rem;max-width:62rem;
background:var(--bg);color:var(--ink);font:1rem/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums}
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
.warning{border:3px solid var(--anomaly);border-radius:.5rem;
padding:.8rem 1rem;max-width:none;font-size:1.1rem}
.warning b{display:block;font-size:2.4rem;line-height:1.15;
color:var(--anomaly)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));
gap:.8rem;margin:1rem 0;padding:0;list-style:none}
.tiles li{background:var(--panel);border:1px solid var(--line);
border-radius:.5rem;padding:.8rem 1rem}
.tiles b{display:block;font-size:1.9rem;line-height:1.25;font-weight:650}
.tiles span{color:var(--soft);font-size:.9rem}
.scroll{overflow-x:auto;margin:.6rem 0 1rem}
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
tbody th{font-weight:600;max-width:16rem;white-space:normal;
overflow-wrap:anywhere}
tfoot th,tfoot td{font-weight:650;border-bottom:0;
border-top:2px solid var(--faint)}
td small,td .diff{display:block;line-height:1.3}
th.sub,.sub{font-weight:400;color:var(--soft)}
.pair{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;align-items:flex-start}
.pair figure{flex:1 1 17rem;margin:0}
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
.player{display:flex;flex-wrap:wrap;align-items:center;gap:.3rem 1rem}
audio{width:100%;max-width:26rem;height:2.6rem}
summary{cursor:pointer;padding:.4rem 0;font-weight:600}
pre{background:var(--panel);border:1px solid var(--line);
border-radius:.5rem;padding:.8rem;overflow:auto;font-size:.8rem;
max-height:32rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;
margin:.4rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.notes li{overflow-wrap:anywhere;margin:.2rem 0}
@media (min-width:56rem){.clip{display:grid;column-gap:1.5rem;
grid-template-columns:minmax(0,1fr) 35rem;align-items:start;
grid-template-rows:auto auto auto 1fr}
.clip>*{grid-column:1}.clip>figure{grid-column:2;grid-row:1/span 6;
margin:0}}
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
details::details-content{content-visibility:visible;block-size:auto}}
@page{margin:15mm}
"""
