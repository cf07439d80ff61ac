"""Detectors in Python: clips in, what is said of them out.

No code of a system is imported before a detector needs it: one of a file does
without.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile

from asd_jax import errors
from asd_jax.data import audio, clips, names, truth
from asd_jax.data import machine as machine_lib
from asd_jax.engine import portable, portable_session
from asd_jax.runs import given as given_lib
from asd_jax.runs import score as score_lib

if TYPE_CHECKING:
  from asd_jax.engine import detector as detector_lib
  from asd_jax.engine import session

# Files and folders, or `[N, C, S]` (`[N, S]` of one channel) samples.
Clips = str | Path | Sequence[str | Path] | np.ndarray
# One for all clips, or one a clip; None where names or nothing say it.
PerClip = str | Sequence[str] | None


def _told(given: PerClip, num: int, what: str) -> list[str | None]:
  """What the caller says of each clip."""
  told = [given] * num if isinstance(given, str | None) else list(given)
  if len(told) != num:
    raise errors.InputError(
      f"{what}: found {len(told)} for {num} clips, expected one a clip."
    )
  return told


@contextlib.contextmanager
def files_of(some: Clips, rate: int) -> Iterator[list[str]]:
  """Files of clips; samples are written to some, which loses nothing."""
  if not isinstance(some, np.ndarray):
    paths = [some] if isinstance(some, str | Path) else some
    yield given_lib.find([str(p) for p in paths])
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


def read_clips(
  paths: Sequence[str],
  machine: str,
  split: str,
  channels: Sequence[int],
  *,
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
    name = names.of_file(Path(path).name)
    out.append(
      clips.Clip(
        Path(path),
        machine,
        section or (name.section if name else "00"),
        split,
        domain or said.domain,
        None,
        said.attributes or "",
        machine_lib.taken(path, header, channels),
        channels=tuple(channels),
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
    found: "detector_lib.Detector | portable.Detector",
    opened: "session.Session | portable_session.Session",
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
    with files_of(some, self.found.config["sample_rate"]) as paths:
      channels = self.found.config.get("recorder_channels", ())
      test = read_clips(
        paths, self.found.machine, "test", channels, sections=sections
      )
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
      InputError: if it cannot be written, and of a detector of one file, which
        is copied.
    """
    from asd_jax.engine import detector as detector_lib

    if isinstance(self.found, portable.Detector) or isinstance(
      self._opened, portable_session.Session
    ):
      raise errors.InputError(
        f"{out}: found a detector of one file, expected one of a folder or a"
        " new one; copy the file instead."
      )
    detector_lib.keep_weights(Path(out), self._opened.kept)
    folder = Path(out) / "detectors" / self.found.machine
    detector_lib.save(folder, self.found)
    return folder


def score(
  detector: Detector, some: Clips, *, sections: PerClip = None
) -> np.ndarray:
  """Scores clips, see `Detector.score`."""
  return detector.score(some, sections=sections)


def load_detector(place: str | Path) -> Detector:
  """Reads a detector.

  Args:
    place: `OUT/detectors/<machine>` of an evaluate run, what `Detector.save`
      returned, or a file of `asd_jax export`.

  Returns:
    The detector.

  Raises:
    InputError: if a file is missing or damaged.
  """
  return Detector(*score_lib.opened(place))
