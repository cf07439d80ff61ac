"""What `import asd_jax` offers: a system in a few lines of a notebook.

The same code as the commands: `fit` and `score` find what `evaluate.py` finds
on the same clips, and a saved detector is one that `score.py` reads.
"""

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
import numpy as np
import soundfile

from asd_jax import errors
from asd_jax.data import audio, clips, names, truth
from asd_jax.engine import detector as detector_lib
from asd_jax.engine import section as section_lib
from asd_jax.engine import session, settings, windowed
from asd_jax.runs import config_file
from asd_jax.runs import score as score_lib

# Files and folders, or `[N, C, S]` (`[N, S]` of one channel) samples.
Clips = str | Path | Sequence[str | Path] | np.ndarray
# One for all clips, or one a clip; None where names or nothing say it.
PerClip = str | Sequence[str] | None


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


def _told(given: PerClip, num: int, what: str) -> list[str | None]:
  """What the caller says of each clip."""
  told = [given] * num if isinstance(given, str | None) else list(given)
  if len(told) != num:
    raise errors.InputError(
      f"{what}: found {len(told)} for {num} clips, expected one a clip."
    )
  return told


@contextlib.contextmanager
def _files(some: Clips, rate: int) -> Iterator[list[str]]:
  """Files of clips; samples are written to some, which loses nothing."""
  if not isinstance(some, np.ndarray):
    paths = [some] if isinstance(some, str | Path) else some
    yield score_lib.find([str(p) for p in paths])
    return
  waves = some[:, None] if some.ndim == 2 else some
  if waves.ndim != 3 or waves.dtype not in (np.int16, np.float32, np.float64):
    raise errors.InputError(
      f"clips: found {some.dtype} of shape {some.shape}, expected int16 or"
      " float samples [N, C, S]."
    )
  # As files they go the way of all clips, passes of front ends included.
  subtype = "PCM_16" if waves.dtype == np.int16 else "FLOAT"
  with tempfile.TemporaryDirectory(prefix="asd_jax_") as folder:
    paths = [f"{folder}/{i:06d}.wav" for i in range(len(waves))]
    for path, wave in zip(paths, waves, strict=True):
      soundfile.write(path, wave.T, rate, subtype=subtype)
    yield paths


def _clips(
  paths: Sequence[str],
  machine: str,
  split: str,
  domains: PerClip = None,
  sections: PerClip = None,
) -> list[clips.Clip]:
  """Clips as a run reads them; what is told goes before what names say."""
  told_domains = _told(domains, len(paths), "domains")
  told_sections = _told(sections, len(paths), "sections")
  out = []
  for path, header, domain, section in zip(
    paths, audio.read_headers(paths), told_domains, told_sections, strict=True
  ):
    said = truth.from_name(Path(path))
    name = names.parse(Path(path).name)
    out.append(
      clips.Clip(
        Path(path),
        machine,
        section or (name.section if name else "00"),
        split,
        domain or said.domain,
        None,
        said.attributes or "",
        header,
      )
    )
  return out


class Judgement(NamedTuple):
  """What a detector says of N clips.

  Attributes:
    scores: `[N]` anomaly scores.
    p_values: `[N]` share of normal clips that score as high; NaN without
      models of folds.
    decisions: `[N]` 1 anomalous, 0 normal, -1 where none is possible.
    notes: odd but fine input.
  """

  scores: np.ndarray
  p_values: np.ndarray
  decisions: np.ndarray
  notes: list[str]


class Detector:
  """A fitted system of one machine, with its weights in memory.

  Args:
    found: states and thresholds.
    opened: the system.

  Attributes:
    found: as given.
    notes: odd but fine training clips.
  """

  def __init__(
    self,
    found: detector_lib.Detector,
    opened: session.Session,
    notes: Sequence[str] = (),
  ) -> None:
    self.found, self._opened, self.notes = found, opened, list(notes)

  def score(self, some: Clips, *, sections: PerClip = None) -> np.ndarray:
    """Scores clips, each by itself; see `judge`.

    Returns:
      `[N]` anomaly scores, files of a folder sorted by name.
    """
    return self.judge(some, sections=sections).scores

  def judge(self, some: Clips, *, sections: PerClip = None) -> Judgement:
    """Scores clips and decides, on each by itself.

    Args:
      some: files, folders, or samples `[N, C, S]` at the config's rate.
      sections: of the clips, where neither names nor a single section say it.

    Returns:
      What is said of them, files of a folder sorted by name.

    Raises:
      InputError: for a clip that cannot be used, or an unknown section.
    """
    known = sorted(self.found.sections)
    # As score.py does: one section needs no name.
    if sections is None and len(known) == 1:
      sections = known[0]
    with _files(some, self.found.config["sample_rate"]) as paths:
      test = _clips(paths, self.found.machine, "test", None, sections)
      notes: list[str] = []
      scores = np.zeros(len(test), np.float32)
      decisions = np.zeros(len(test), np.int8)
      p_values = np.zeros(len(test))
      used = sorted({c.section for c in test})
      for section in used:
        if section not in known:
          raise errors.InputError(
            f"sections: found {section!r}, expected some of {known}."
          )
        own = [c for c in test if c.section == section]
        self._opened.check(self.found.sections[section].plan(own).clips)
      for section in used:
        rows = [i for i, c in enumerate(test) if c.section == section]
        judged = self._opened.score(
          self.found.sections[section], [test[i] for i in rows]
        )
        scores[rows] = judged.scores.fused
        decisions[rows] = judged.decisions
        p_values[rows] = judged.p_values
        notes += judged.notes
    return Judgement(scores, p_values, decisions, notes)

  def save(self, out: str | Path) -> Path:
    """Writes the detector as `evaluate.py` does.

    Args:
      out: folder; weights of frozen encoders go to `encoders` in it.

    Returns:
      `out/detectors/<machine>`, which `load_detector` and `score.py` read.

    Raises:
      InputError: if it cannot be written.
    """
    detector_lib.keep_weights(Path(out), self._opened.kept)
    folder = Path(out) / "detectors" / self.found.machine
    detector_lib.save(folder, self.found)
    return folder


def fit(
  config: Mapping[str, Any],
  some: Clips,
  *,
  domains: PerClip = None,
  sections: PerClip = None,
  machine: str = "machine",
) -> Detector:
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
  with _files(some, rate) as paths:
    files = _clips(paths, machine, "train", domains, sections)
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
  return Detector(found, opened, notes)


def score(
  detector: Detector, some: Clips, *, sections: PerClip = None
) -> np.ndarray:
  """Scores clips, see `Detector.score`."""
  return detector.score(some, sections=sections)


def load_detector(folder: str | Path) -> Detector:
  """Reads a detector.

  Args:
    folder: `OUT/detectors/<machine>` of an evaluate run, or what
      `Detector.save` returned.

  Returns:
    The detector.

  Raises:
    InputError: if a file is missing or damaged.
  """
  found = detector_lib.load(Path(folder))
  return Detector(found, session.of_detector(found, Path(folder)))
