"""Derives the scores of a challenge package again, one clip at a time.

Every clip is scored as if there were no other, from the detectors of the run
that wrote the package, and its files must come out byte for byte. So no score
can depend on another test clip.

Source: [KATECH26], whose package was guarded so.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from asd_jax import errors, files
from asd_jax.data import clips, submission, submission_write
from asd_jax.engine import detector, session
from asd_jax.runs import evaluate
from asd_jax.runs import progress as progress_lib

# A package lies in the folder of its run, or up to three levels below.
_DEPTH = 4
_MOST = 5


def run_of(package: Path) -> Path:
  """The folder of the run that wrote a package.

  Args:
    package: the package or a folder in it.

  Returns:
    The folder OUT of an evaluate run.

  Raises:
    InputError: none lies around it.
  """
  here = package.resolve()
  for place in (here, *here.parents)[:_DEPTH]:
    if (place / "results.json").is_file() and (place / "detectors").is_dir():
      return place
  raise errors.InputError(
    f"{package}: found no results.json and detectors around it, expected a"
    " package in the folder of its run; --run=OUT names the run of another."
  )


def _machines(
  config: Mapping[str, Any], data_dir: str, wanted: Collection[str]
) -> list[clips.Machine]:
  """The clips of some machines of a run, which may have been moved since."""
  moved = {"data_dir": data_dir} if data_dir else {}
  # Labels decide no score.
  every = evaluate.read_machines({**config, "ground_truth": "", **moved})
  if missing := sorted(set(wanted) - {m.name for m in every}):
    raise errors.InputError(
      f"{data_dir or config['data_dir']}: found no machine {missing[0]!r},"
      " expected the clips that the package has scores of"
      " (--data_dir=DIR says where they are now)."
    )
  return [m for m in every if m.name in wanted]


class Deriver:
  """Scores clips alone with the detectors of a run.

  Args:
    run: folder of the run.
  """

  def __init__(self, run: Path) -> None:
    self._run = run
    self._opened: session.Session | None = None

  def _session(self, found: detector.Detector, folder: Path) -> session.Session:
    # One for all machines, whose systems are one: states are arguments.
    if self._opened is None:
      # Embeddings of the run itself would prove nothing.
      alone = found._replace(config={**found.config, "cache": "off"})
      self._opened = session.of_detector(alone, folder)
    return self._opened

  def texts(
    self, machine: clips.Machine, advance: Callable[[int], None]
  ) -> dict[str, str]:
    """The files of a machine, as scores of single clips make them.

    Args:
      machine: its clips.
      advance: called with the number of clips done.

    Returns:
      Name to content.

    Raises:
      InputError: no detector, or a clip that cannot be scored.
    """
    folder = self._run / "detectors" / machine.name
    found = detector.load(folder)
    opened = self._session(found, folder)
    out = {}
    for name, section in found.sections.items():
      rows = []
      for clip in (c for c in machine.test if c.section == name):
        judged = opened.score(section, [clip])
        score, decision = judged.scores.fused[0], int(judged.decisions[0])
        said = decision if decision >= 0 else None
        rows.append((clip.name, float(score), said))
        advance(1)
      if rows:
        out |= submission_write.texts(machine.name, name, rows)
    return out


def _differences(name: str, found: bytes, derived: str) -> list[str]:
  """Says where a file differs from what was derived."""
  wanted = derived.encode("utf-8", "surrogateescape")
  if found == wanted:
    return []
  pairs = [
    (a, b)
    for a, b in zip(found.splitlines(), wanted.splitlines(), strict=False)
    if a != b
  ]
  shown = [f"found {a!r}, alone {b!r}" for a, b in pairs[:_MOST]]
  if len(pairs) > _MOST:
    shown.append(f"{len(pairs) - _MOST} more rows")
  return [f"{name}: {'; '.join(shown) or 'rows are missing or added'}"]


def rescore(
  package: Path,
  *,
  run: str = "",
  data_dir: str = "",
  progress: progress_lib.Progress,
) -> tuple[int, list[str]]:
  """Derives a package again and compares its files byte for byte.

  Args:
    package: a valid package of one system, written by a run of ours.
    run: folder of that run; found around the package if empty.
    data_dir: where its challenge folders are now; as in its config if empty.
    progress: where progress is shown.

  Returns:
    Number of clips, and one text a file that differs.

  Raises:
    InputError: no run, detector or clip to derive it from.
  """
  system = submission.only_system(package)
  wanted = submission.read_scores(system)
  out = Path(run) if run else run_of(package)
  config = files.read_json(out / "results.json")["config"]
  machines, deriver = _machines(config, data_dir, wanted), Deriver(out)
  num, problems = 0, []
  for machine in machines:
    advance = progress.task(f"{machine.name} alone", len(machine.test))
    derived = deriver.texts(machine, advance)
    num += len(machine.test)
    for name, text in derived.items():
      path = system / name
      found = path.read_bytes() if path.is_file() else b""
      problems += _differences(path.name, found, text)
  return num, [f"{system.name}: {text}" for text in problems]
