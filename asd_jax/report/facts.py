"""How the run was made: versions, device, time and config."""

import json
from collections.abc import Mapping
from typing import Any

from asd_jax.report import record, text

TITLE = "This run"


def _encoders(about: Mapping[str, Any]) -> dict[str, str]:
  """Where the weights of frozen encoders come from, and the embeddings."""
  if not about:
    return {}
  weights = [
    f"{text.escape(', '.join(w['branches']))}: {text.escape(w['origin'])}"
    f" ({digest[:8]})"
    for digest, w in about["weights"].items()
  ]
  return {
    "encoder weights": "<br>".join(weights),
    "embeddings": f"{text.plural(about['clips_computed'], 'clip')} computed,"
    f" {about['clips_read']} read from the cache",
  }


def section(run: record.Run) -> str:
  """Versions, device, time and config.

  Args:
    run: the run.

  Returns:
    HTML.
  """
  results = run.results
  made = results.get("run") or {}
  versions = made.get("versions", {})
  pairs = {
    "finished": made.get("finished"),
    "duration": f"{made['seconds']:g} s" if "seconds" in made else None,
    "device": f"{made.get('num_devices', 1)} &times;"
    f" {text.escape(made.get('device', '?'))}",
    "seeds": text.escape(", ".join(map(str, results["seeds"]))) or "none",
    **_encoders(results.get("encoders", {})),
    # Space that does not break keeps a name and its number together.
    "versions": ", ".join(
      f"{text.escape(k)}&nbsp;{text.escape(v)}" for k, v in versions.items()
    ),
  }
  listed = "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in pairs.items() if v)
  # Line by line: an escape of the whole would lose the line ends.
  config = text.escape_lines(
    json.dumps(results["config"], indent=2, sort_keys=True, default=str)
  )
  return (
    f'<section id="run"><h2>This run</h2><dl>{listed}</dl><details><summary>'
    f'Config</summary><pre tabindex="0" aria-label="Config">{config}</pre>'
    "</details></section>"
  )
