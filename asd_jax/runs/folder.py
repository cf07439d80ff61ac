"""An output folder belongs to one run: that goes on, any other is refused.

Results of two runs in one folder could not be told apart, and emptying it
would lose somebody's hours. What a run is: its command, its settings and the
content of its inputs, kept in `run.json` beside what it leaves.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors, files, store
from asd_jax.data import clips, decode
from asd_jax.runs import options

FILE = "run.json"
# Folders that came from no run of this version are known by what is in them.
_LEFT = ("results.json", "sweep.json")
# Where a run writes decides nothing of what it finds.
OUTPUTS = ("output_dir", "training_dir")
# Nor do places of inputs, which count by their content, and what others found.
_PLACES = (
  *OUTPUTS,
  *("data_dir", "normal", "test", "ground_truth", "cache", "published"),
)


class Run(NamedTuple):
  """What a run is.

  Attributes:
    out: its output folder.
    command: which, such as "evaluate".
    settings: plain data.
    machines: their clips.
    weights: names of the content of all published weights.
  """

  out: Path
  command: str
  settings: Mapping[str, Any]
  machines: Sequence[clips.Machine]
  weights: Mapping[str, str]


def training_dir(config: Mapping[str, Any]) -> str:
  """Where a run keeps networks and logs: below its output if nothing is said.

  Args:
    config: plain data.

  Returns:
    The folder, "" if there is no output either.
  """
  if config["training_dir"] or not config["output_dir"]:
    return config["training_dir"]
  return os.path.join(config["output_dir"], "training")


def _inputs(run: Run) -> str:
  """A name of the content of all inputs."""
  about = [
    [
      *(m.name, c.name, c.split, c.section, c.domain, c.label, c.attributes),
      decode.digest(c),
    ]
    for m in run.machines
    for c in (*m.train, *m.test)
  ]
  return store.digest(about, dict(run.weights))


def _settings(run: Run) -> dict[str, Any]:
  """Settings that decide something, by their dotted key, as JSON has them."""
  kept = {k: v for k, v in run.settings.items() if k not in _PLACES}
  return json.loads(json.dumps(options.flat(kept), default=str))


def _refused(out: Path, what: str) -> errors.InputError:
  return errors.InputError(
    f"{out}: found another run, {what}; expected a new folder, or the same"
    " command, settings and inputs, which go on."
  )


def digest(run: Run) -> str:
  """A name of what a run is.

  Args:
    run: what is to be started.

  Returns:
    32 hex digits.
  """
  return store.digest(run.command, _settings(run), _inputs(run))


def check(run: Run) -> None:
  """Refuses the folder of another run.

  Args:
    run: what is to be started.

  Raises:
    InputError: if the folder is another's, saying what differs.
  """
  if not (run.out / FILE).exists():
    if left := [name for name in _LEFT if (run.out / name).exists()]:
      raise _refused(run.out, f"whose {left[0]} has no {FILE} beside it")
    return
  found = files.read_json(run.out / FILE)
  if found.get("command") != run.command:
    raise _refused(run.out, f"of {found.get('command')} and not {run.command}")
  old, new = found.get("settings", {}), _settings(run)
  keys = sorted({*old, *new})
  if other := [k for k in keys if old.get(k) != new.get(k)]:
    more = f" and {len(other) - 3} more" if len(other) > 3 else ""
    raise _refused(run.out, f"of other settings ({', '.join(other[:3])}{more})")
  if found.get("inputs") != _inputs(run):
    raise _refused(run.out, "of other clips, labels or weights")


def claim(run: Run) -> None:
  """Notes whose folder it is, once the first result is in it.

  Not earlier: a run that was stopped before it found anything binds nobody.

  Args:
    run: whose it is from now on.

  Raises:
    InputError: if it cannot be written.
  """
  if (run.out / FILE).exists():
    return
  about = {
    "command": run.command,
    "settings": _settings(run),
    "inputs": _inputs(run),
  }
  text = json.dumps(about, indent=2, sort_keys=True)
  files.atomic_write_text(run.out / FILE, text + "\n")
