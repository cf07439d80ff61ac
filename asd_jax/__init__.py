"""Noise-aware anomalous sound detection in JAX.

What a notebook needs is here by name; commands are `asd_jax.runs`, stages of a
system their packages. Nothing is imported before it is asked for: jax takes a
second, and reads its environment once.
"""

import importlib
from typing import Any

# Public name to the module that holds it.
_PLACES: dict[str, str] = {
  **dict.fromkeys(("load_config", "fit"), "asd_jax.runs.library"),
  **dict.fromkeys(
    ("score", "load_detector", "Detector"), "asd_jax.runs.loaded"
  ),
}


def _version() -> str:
  from importlib import metadata

  try:
    return metadata.version("asd_jax")
  except metadata.PackageNotFoundError:  # a source tree on the path
    return "0+source"


def __getattr__(name: str) -> Any:
  """Imports a public name when it is first used."""
  if name == "__version__":
    return _version()
  if name == "session":
    return importlib.import_module("asd_jax.engine.session")
  if name not in _PLACES:
    raise AttributeError(f"module 'asd_jax' has no attribute {name!r}")
  return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *_PLACES, "session", "__version__"])
