"""The report of a run: one self-contained HTML page."""

import html
from typing import Any


def page(results: dict[str, Any], scored: dict[str, Any]) -> str:
  """Makes the page.

  Args:
    results: content of results.json.
    scored: machine to section to scores.

  Returns:
    HTML.
  """
  del scored
  rows = "".join(
    f"<tr><th>{html.escape(name)}</th>"
    + "".join(
      f"<td>{'' if entry[k] is None else format(100 * entry[k], '.2f')}</td>"
      for k in ("auc_source", "auc_target", "pauc", "score")
    )
    + "</tr>"
    for name, entry in results["machines"].items()
  )
  notes = "".join(f"<li>{html.escape(n)}</li>" for n in results["notes"])
  return (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    f"<title>{html.escape(results['system'])}</title>"
    f"<h1>{html.escape(results['system'])}</h1><table><tr><th>machine"
    "<th>AUC source<th>AUC target<th>pAUC<th>score</tr>"
    f"{rows}</table><ul>{notes}</ul></html>"
  )
