"""Configs and fits of `import asd_jax`: a system in a few lines of a notebook.

The same code as the commands: `fit` and `score` find what `evaluate.py` finds
on the same clips, and a saved detector is one that `score.py` reads.
"""

import importlib.util
from collections.abc import Mapping
from typing import Any

import ml_collections

from asd_jax import errors
from asd_jax.engine import detector as detector_lib
from asd_jax.engine import section as section_lib
from asd_jax.engine import session, settings, windowed
from asd_jax.runs import config_file, loaded


def load_config(
  name_or_path: str, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """Reads a config.

  Args:
    name_or_path: such as `plain_knn`, `ludo_system1:smoke` or `my/config.py`.
    overrides: new values, by dotted keys (`"branches.log_mel.view.alpha"`) or
      nested. A value with a `name` takes the place of a whole stage.

  Returns:
    Plain data.

  Raises:
    InputError: for a config that is not there, or a key or type that it does
      not have.
  """
  path, _, argument = config_file.locate(name_or_path).partition(":")
  config_file.offer()  # `from configs import common`
  spec = importlib.util.spec_from_file_location("asd_jax_config", path)
  if spec is None or spec.loader is None:
    raise errors.InputError(f"{path}: found no Python file, expected a config.")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = module.get_config(argument) if argument else module.get_config()
  for key, value in (overrides or {}).items():
    _override(config.lock(), key, value)
  return config.to_dict()


def _override(node: ml_collections.ConfigDict, key: str, value: Any) -> None:
  *above, last = key.split(".")
  try:
    for name in above:
      node = node[name]
    if isinstance(value, Mapping) and "name" not in value:
      for inner, new in value.items():
        _override(node[last], inner, new)
    elif isinstance(value, Mapping):
      if last not in node:
        raise KeyError(f"no {last!r}")
      # Another function of a stage has other settings.
      with node.unlocked(), node.ignore_type():
        node[last] = ml_collections.ConfigDict(value)
    else:
      node[last] = value
  except (AttributeError, KeyError, TypeError) as e:
    raise errors.InputError(f"config: {key}: {e}") from e


def fit(
  config: Mapping[str, Any],
  some: loaded.Clips,
  *,
  domains: loaded.PerClip = None,
  sections: loaded.PerClip = None,
  machine: str = "machine",
) -> loaded.Detector:
  """Fits a system to normal clips of one machine.

  Args:
    config: what `load_config` returns.
    some: files, folders, or samples `[N, C, S]` at the config's rate.
    domains: "source" or "target", where names do not say it.
    sections: two digits, where names do not say it; else "00".
    machine: its name.

  Returns:
    The detector.

  Raises:
    InputError: for a config or clips that cannot be used.
  """
  fitted: dict[str, section_lib.Section] = {}
  notes: list[str] = []
  rate = settings.completed(config)["sample_rate"]
  with loaded.files_of(some, rate) as paths:
    channels = settings.completed(config)["recorder_channels"]
    files = loaded.read_clips(
      *(paths, machine, "train", channels), domains=domains, sections=sections
    )
    train = windowed.training(files, config)
    # What a config names is more than one machine, and goes before it.
    named = config.get("data_dir") or config.get("normal")
    opened = session.open(config, train=None if named else train)
    for section in sorted({c.section for c in train}):
      own = [c for c in train if c.section == section]
      done = opened.fit(f"{machine} {section}", own)
      fitted[section] = done.section
      notes += done.notes
  digests = {s: w.digest for s, w in opened.kept.items()}
  found = detector_lib.Detector(
    machine, opened.config, opened.system, fitted, digests
  )
  return loaded.Detector(found, opened, notes)
