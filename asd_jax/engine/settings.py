"""Completes and checks a run's config before any data is read."""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors, files
from asd_jax.data import audio, submission
from asd_jax.engine import cache, decide, effects, seeds, stages, windowed
from asd_jax.engine import system as system_lib
from asd_jax.frontends import dif
from asd_jax.scores import alarm

# Settings of a run beside its branches, for what a config or an old detector
# leaves out; `configs/common.py` says what each means.
DEFAULTS: dict[str, Any] = dict(
  system="",
  data_dir="",
  normal="",
  test="",
  ground_truth="",
  machines="",
  output_dir="",
  training_dir="",
  recorder_channels=(),
  sample_rate=16_000,
  batch_size=16,
  checkpoints={},
  weights_dir="weights",
  random_weights=False,
  precision="float32",
  cache="on",
  seeds=(13711,),
  members=(),
  selection="",
  chosen_on=(),
  feature_selection="",
  sweep=(),
  fusion=dict(name="weighted_mean"),
  threshold=decide.Rule()._asdict(),
  window_seconds=0.0,
  hop_seconds=0.0,
  alarm_after=alarm.AFTER,
  adapt=dict(data_dirs=(), folds=0, seeds_at_once="auto", memory_gb=4.0),
  submission=dict(label="AsdJax_Local_task2_1", abbreviation="asd_jax"),
  published=dict(development=0.0, evaluation=0.0, source=""),
  synthetic={},
)
KEYS = ("branches", *DEFAULTS)


class Selection(NamedTuple):
  """A file that a command writes and a config names.

  Attributes:
    key: of the config that names the file.
    kind: what the file says it is.
    script: the command that writes it.
    what: what it chose, in words.
    read: takes the content of the file; raises KeyError, TypeError or
      InputError where it does not hold that.
    put: `(config, what was read) -> config`.
  """

  key: str
  kind: str
  script: str
  what: str
  read: Callable[[Any], tuple]
  put: Callable[[Mapping[str, Any], tuple], dict[str, Any]]


def _members(content: Mapping[str, Any]) -> tuple:
  """Members, and the machines whose labels chose them."""
  found = tuple((m["branch"], m["seed"]) for m in content["members"])
  machines = tuple(content.get("machines", ()))
  if not found or not all(isinstance(m, str) for m in machines):
    raise errors.InputError("found none, expected some")
  return found, machines


def _features(content: Mapping[str, Any]) -> tuple:
  names = tuple(entry["name"] for entry in content["kept"])
  dif.chosen(names)  # which refuses no name and unknown ones
  return names


def _with_members(config: Mapping[str, Any], found: tuple) -> dict[str, Any]:
  if config["members"]:
    raise errors.InputError(
      "config: found both members and selection, expected one of them."
    )
  members, machines = found
  return {**config, "members": members, "chosen_on": machines}


def _with_features(config: Mapping[str, Any], found: tuple) -> dict[str, Any]:
  """Every front end that computes such features takes the chosen ones."""
  branches = {}
  for name, spec in config["branches"].items():
    front = dict(spec["frontend"])
    if front["name"] in dif.FRONTENDS:
      spec = {**spec, "frontend": {**front, "features": found}}
    branches[name] = spec
  taken = [s["frontend"]["name"] in dif.FRONTENDS for s in branches.values()]
  if not any(taken):
    raise errors.InputError(
      "config: found feature_selection, but no branch with frontend 'dif'."
    )
  return {**config, "branches": branches}


MEMBERS = Selection(
  key="selection",
  kind="asd_jax member selection",
  script="scripts/select_members.py",
  what="members",
  read=_members,
  put=_with_members,
)
FEATURES = Selection(
  key="feature_selection",
  kind="asd_jax feature selection",
  script="scripts/select_features.py",
  what="names",
  read=_features,
  put=_with_features,
)


def read_selection(path: Path, selection: Selection) -> tuple:
  """Reads what was chosen from a selection file.

  Args:
    path: the file.
    selection: what it should be.

  Returns:
    What its `read` returns.

  Raises:
    InputError: if it is missing or not such a file.
  """
  expected = f"expected a file that {selection.script} wrote"
  found = files.read_json(path)
  if found.get("kind") != selection.kind:
    raise errors.InputError(f"{path}: found another kind of file, {expected}.")
  try:
    return selection.read(found)
  except (LookupError, TypeError, errors.InputError):
    raise errors.InputError(
      f"{path}: found no {selection.what}, {expected}."
    ) from None


def with_selections(config: Mapping[str, Any]) -> dict[str, Any]:
  """A config with the contents of its selection files put in.

  Args:
    config: plain data; keys of selection files may be missing or empty.

  Returns:
    The config, complete without the files.

  Raises:
    InputError: for a bad file, or one that the config has no use for.
  """
  out = dict(config)
  for selection in (MEMBERS, FEATURES):
    if path := out.get(selection.key):
      out = selection.put(out, read_selection(Path(path), selection))
      out[selection.key] = ""
  return out


def prepared(config: Mapping[str, Any]) -> dict[str, Any]:
  """Completes a config and refuses one that a run could not finish with.

  Args:
    config: plain data, see `configs/common.py`.

  Returns:
    The config, with the contents of its selection files.

  Raises:
    InputError: for an unknown, missing or impossible setting.
  """
  config = with_selections(completed(config))
  rate = config["sample_rate"]
  config["branches"] = {
    n: {**b, "frontend": stages.at_rate(b["frontend"], rate)}
    for n, b in config["branches"].items()
  }
  check(config)
  return config


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fills what a config leaves out.

  Args:
    config: plain data; its branches may leave out stages.

  Returns:
    A config with all of `KEYS`.

  Raises:
    InputError: for an unknown key, of the config or of a branch.
  """
  for key in config:
    if key not in KEYS:
      near = difflib.get_close_matches(key, KEYS, n=1)
      hint = (
        f"did you mean {near[0]!r}?" if near else f"expected some of {KEYS}"
      )
      raise errors.InputError(f"config: found unknown key {key!r}, {hint}")
  if not config.get("branches"):
    raise errors.InputError(
      "config: branches: found none, expected one or more."
    )
  branches = {n: stages.completed(n, b) for n, b in config["branches"].items()}
  adapt = {**DEFAULTS["adapt"], **config.get("adapt", {})}
  return {**DEFAULTS, **config, "branches": branches, "adapt": adapt}


def check(config: Mapping[str, Any]) -> None:
  """Refuses a config that a run could not finish with.

  Args:
    config: plain data, see `configs/common.py`.

  Raises:
    InputError: for an unknown, missing or impossible setting.
  """
  channels = config["recorder_channels"]
  if (
    not isinstance(channels, tuple | list)
    or len(channels) > audio.MAX_CHANNELS
    or len(set(channels)) < len(channels)
    or not all(isinstance(c, int) and c >= 0 for c in channels)
  ):
    raise errors.InputError(
      f"config: recorder_channels: found {channels!r}, expected the numbers of"
      " the near and perhaps the far channel, from 0, such as (0, 3)."
    )
  for key in ("sample_rate", "batch_size"):
    if not isinstance(config[key], int) or config[key] < 1:
      raise errors.InputError(
        f"config: {key}: found {config[key]!r}, expected 1 or more."
      )
  for key, kind in (("random_weights", bool), ("weights_dir", str)):
    if not isinstance(config[key], kind):
      raise errors.InputError(
        f"config: {key}: found {config[key]!r}, expected a {kind.__name__}."
      )
  if config["cache"] not in cache.MODES:
    raise errors.InputError(
      f"config: cache: found {config['cache']!r}, expected one of"
      f" {cache.MODES}."
    )
  seeds.check(config["seeds"], such_as=(1, 2, 3))
  windowed.check(config)
  submission.check_label(config["submission"]["label"])
  system = system_lib.build(config)
  effects.check_adapt(config, system.branches)
  effects.check_run(config, system.branches)
  effects.check_rate(config[stages.RATE], system.branches)
  _check_threshold(config, system)


def _check_threshold(
  config: Mapping[str, Any], system: system_lib.System
) -> None:
  """The rule exists, its settings are known and the system can use it."""
  rule = decide.read_rule(config)
  if rule.name == "gamma" and not system_lib.has_batch_values(system):
    raise errors.InputError(
      "config: threshold: name: found 'gamma', which is fitted to the training"
      " batches of one autoencoder that scores clip by clip (baseline_mse,"
      f" baseline_mahala), and {config['system'] or 'this system'} has none;"
      " expected 'conformal' or 'quantile'."
    )
