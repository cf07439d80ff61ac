"""The record of a run for its report: scores, suspicious clips, denoising.

What needs the system or the recordings is computed here and in `suspects`, so
that the report itself is made of plain data.
"""

import functools
import math
import os
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asd_jax import errors
from asd_jax.data import audio, clips, decode
from asd_jax.engine import encode, findings
from asd_jax.engine.programs import Programs
from asd_jax.report import record, spectrogram
from asd_jax.runs import reasons, results, suspects

_MAX_DENOISED = 12


_TRAIN_KINDS = {
  "loo": "leave-one-out",
  "in_sample": "in-sample",
  "folds": "by models that had not heard them",
}


def link_to(path: Path, out: Path) -> str:
  """How a page in a folder names a file, whatever its name holds.

  Args:
    path: the file.
    out: the page's folder.

  Returns:
    A relative URL.
  """
  # `..` of a link leads to where the link points, not back.
  folder, page = os.path.realpath(path.parent), os.path.realpath(out)
  relative = os.path.relpath(os.path.join(folder, path.name), page)
  # Bytes: names need not be UTF-8.
  return urllib.parse.quote(os.fsencode(relative))


def recordings_of(entry: Any, out: Path) -> list[record.Recording]:
  """The long recordings of one section as the report takes them.

  Args:
    entry: `results.Scored`.
    out: folder of the page.

  Returns:
    Plain data.
  """
  found = []
  train = entry.section.train_scores()
  middle, high = (float(q) for q in np.quantile(train, (0.5, 0.9)))
  for i in np.unique(entry.windows.file).astype(int):
    own, clip = entry.windows.file == i, entry.clips[i]
    head = clip.recording
    assert head is not None
    found.append(
      record.Recording(
        clip.name,
        link_to(clip.path, out),
        head.num_samples / head.sample_rate,
        entry.windows.start_seconds[own],
        entry.windows.score[own].astype(np.float64),
        entry.windows.decision[own],
        (middle, high),
      )
    )
  return found


def scores_of(entry: Any, out: Path) -> record.Section:
  """The scores of one section as the report takes them.

  Args:
    entry: `results.Scored`.
    out: folder of the page.

  Returns:
    Plain data.
  """
  as_array = lambda flags: None if flags is None else np.array(flags, bool)
  is_anomaly, is_target = results.flags_of(entry.clips)
  score, train = (np.asarray(x, np.float64) for x in (entry.score, entry.train))
  kinds = set(entry.section.facts["training_scores"].values())
  if entry.section.folds is not None:
    kinds = {"folds"}
  return record.Section(
    score=score,
    is_anomaly=as_array(is_anomaly),
    is_target=as_array(is_target),
    train=train,
    train_kind=" and ".join(_TRAIN_KINDS[k] for k in sorted(kinds)),
    threshold=math.inf if entry.section.limit is None else entry.section.limit,
    decision=np.asarray(entry.decisions),
    p_value=np.asarray(entry.p_values, np.float64),
    names=[c.name for c in entry.clips],
    links=[link_to(c.path, out) for c in entry.clips],
    recordings=recordings_of(entry, out),
  )


def _middle(score: np.ndarray, rows: np.ndarray) -> int:
  """The row whose score is the median one."""
  # A typical clip is shown; the extremes are among the suspects already.
  order = rows[np.argsort(score[rows], kind="stable")]
  return int(order[len(order) // 2])


def _pick(entry: Any) -> list[tuple[str, int]]:
  """A typical normal and a typical anomalous clip, else by score."""
  score = np.asarray(entry.score, np.float64)
  labels = np.array([c.label for c in entry.clips], object)
  normal, odd = (np.flatnonzero(labels == k) for k in ("normal", "anomaly"))
  if len(normal) and len(odd):
    return [
      ("normal", _middle(score, normal)),
      ("anomalous", _middle(score, odd)),
    ]
  low, high = int(np.argmin(score)), int(np.argmax(score))
  picks = [("lowest score", low), ("highest score", high)]
  return picks if low != high else picks[:1]


def _rows(
  denoised: Mapping[str, np.ndarray], wave: np.ndarray, rate: int
) -> list[tuple[str, np.ndarray]]:
  """The rows of one clip: both channels as recorded, then what is left."""
  near, far = audio.to_float(wave)[:2]
  rows = [
    ("near", spectrogram.mel_spectrogram(near, rate)),
    ("far", spectrogram.mel_spectrogram(far, rate)),
  ]
  # With one branch its name says nothing.
  label = lambda n: n if len(denoised) > 1 else "denoised"
  return rows + [(label(n), x) for n, x in denoised.items()]


def find_denoised(
  programs: Programs,
  scored: Mapping[str, Mapping[str, Any]],
  config: Mapping[str, Any],
  states: Callable[[str, str], Any],
) -> list[record.Denoised]:
  """Denoises two clips of each machine for the report.

  Args:
    programs: the compiled system.
    scored: machine to section to scores.
    config: `sample_rate`.
    states: `(machine, section) -> fitted state`.

  Returns:
    Examples, none where no trained encoder hears a denoised channel.
  """
  system = programs.system
  names = [
    n
    for n, b in system.branches.items()
    if encode.denoises(b) and b.encoder.scope == "machine"
  ]
  if not names:
    return []
  rate = config["sample_rate"]
  out = []
  for machine, sections in scored.items():
    for section, entry in sections.items():
      if not entry.clips or len(out) == _MAX_DENOISED:
        continue
      front = states(machine, section)["front"]
      heard = []
      for title, row in _pick(entry):
        clip = entry.clips[row]
        try:
          wave = decode.read(clip, sample_rate=rate)[0]
        except errors.InputError:  # changed or removed since it was scored
          continue
        # Behind the front end there is one channel, the denoised one.
        found = programs.clip_features(front, wave)
        rows = _rows({n: np.asarray(found[n])[0] for n in names}, wave, rate)
        seconds = clip.header.num_samples / clip.header.sample_rate
        heard.append(record.Heard(title, clip.name, seconds, rows))
      heard_by = {n: system.branches[n] for n in names}
      transfer = findings.noise_transfers(heard_by, front)
      label = section if len(sections) > 1 else ""
      out.append(record.Denoised(machine, label, rate, heard, transfer))
  return out


def record_of(
  programs: Programs,
  machines: Sequence[clips.Machine],
  scored: Mapping[str, Mapping[str, Any]],
  found: Mapping[str, Any],
  config: Mapping[str, Any],
  *,
  states: Callable[[str, str], Any],
) -> record.Run:
  """All that the report shows of a run.

  Args:
    programs: the compiled system.
    machines: what was read.
    scored: machine to section to scores.
    found: content of results.json.
    config: `sample_rate`, `output_dir`.
    states: `(machine, section) -> fitted state`.

  Returns:
    Plain data.
  """
  out = Path(config["output_dir"])
  link = functools.partial(link_to, out=out)
  kept = reasons.of_run(config, found["encoders"].get("weights", {}))
  return record.Run(
    found,
    {
      m: {s: scores_of(v, out) for s, v in e.items()} for m, e in scored.items()
    },
    suspects.find(
      programs, machines, scored, config, states, link=link, kept=kept
    ),
    find_denoised(programs, scored, config, states),
  )
