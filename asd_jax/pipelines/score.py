"""Scores files and folders with a saved detector."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from asd_jax.data import audio, clips, files, folders, names
from asd_jax.pipelines import detector, features


def find(paths: Sequence[str]) -> list[str]:
  """Expands folders to the wave files below them.

  Args:
    paths: files and folders.

  Returns:
    Files as given, those of a folder sorted and joined to it as given.

  Raises:
    ValueError: for a path that does not exist, and an empty folder.
  """
  out = []
  for path in paths:
    if not os.path.exists(path):
      raise ValueError(f"{path}: found nothing, expected a wav file or folder.")
    if not os.path.isdir(path):
      out.append(path)
      continue
    inside, _ = folders.wave_files(folders.walk(Path(path), skipped=()))
    if not inside:
      raise ValueError(f"{path}: found no wave files, expected at least one.")
    found = (os.path.relpath(p, path) for p in inside)
    out += sorted(os.path.join(path, name) for name in found)
  return out


def _section_of(path: str, known: Sequence[str], section: str | None) -> str:
  """Which of the detector's sections a file belongs to."""
  name = names.parse(os.path.basename(path))
  named = name.section if name else ""
  chosen = section or (known[0] if len(known) == 1 else named)
  if chosen not in known:
    raise ValueError(
      f"{path}: found section {chosen!r}, expected one of {list(known)}"
      " (--section=...)."
    )
  return chosen


def run(
  folder: str, paths: Sequence[str], *, section: str | None = None
) -> Iterator[tuple[str, list[str]]]:
  """Scores files; the result equals that of the evaluate run.

  Args:
    folder: `OUT/detectors/<machine>`.
    paths: files and folders.
    section: section of all files; from their names if None.

  Yields:
    Lines of csv (the header first; paths as given, in the order given) and
    notes on odd input.

  Raises:
    ValueError: for a bad detector or a bad file, before anything is yielded.
  """
  loaded = detector.load(Path(folder))
  config, system = loaded.config, loaded.system
  found = find(paths)
  known = sorted(loaded.sections)
  part_of = [_section_of(p, known, section) for p in found]
  heads = audio.read_headers(found)
  some = [
    clips.Clip(Path(p), loaded.machine, s, "test", None, None, "", h)
    for p, s, h in zip(found, part_of, heads, strict=True)
  ]
  features.check(system, some, config["sample_rate"])
  compiled = features.scorer(system)
  score = np.zeros(len(some), np.float32)
  notes: list[str] = []
  for part in known:
    rows = np.array([i for i, s in enumerate(part_of) if s == part])
    for index, fused, _, new in features.score(
      compiled,
      loaded.sections[part].state,
      [some[i] for i in rows],
      batch_size=config["batch_size"],
      rate=config["sample_rate"],
    ):
      score[rows[index]] = fused
      notes += new
  limits = {s: v.threshold for s, v in loaded.sections.items()}
  lines = [("file", "score", "decision")]
  lines += [
    (p, float(x), int(x > limits[s]))
    for p, x, s in zip(found, score, part_of, strict=True)
  ]
  yield files.csv_text(lines), notes
