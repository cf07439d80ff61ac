"""What a denoising front end does to a normal and to an anomalous clip."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from asd_jax.data import audio
from asd_jax.engine.programs import Programs
from asd_jax.engine.system import System
from asd_jax.report import figures, spectrogram, text

MAX_PICTURED = 12


class Heard(NamedTuple):
  """One clip before and after denoising.

  Attributes:
    title: what it is.
    name: file name.
    seconds: its length.
    rows: (title, `[T, M]` dB), near, far, then denoised by each branch.
  """

  title: str
  name: str
  seconds: float
  rows: list[tuple[str, np.ndarray]]


class Picture(NamedTuple):
  """The pictures of one section.

  Attributes:
    machine: its machine.
    section: its section, "" if the machine has only one.
    rate: Hz.
    clips: a normal and an anomalous clip, or of low and of high score.
    transfer: branch to noise transfer, `[F]` power ratios.
  """

  machine: str
  section: str
  rate: int
  clips: list[Heard]
  transfer: dict[str, np.ndarray]


def _middle(score: np.ndarray, rows: np.ndarray) -> int:
  """The row whose score is the median one."""
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


def _transfers(
  system: System, names: Sequence[str], front: Any
) -> dict[str, np.ndarray]:
  found = {}
  for name in names:
    for stage in system.stages:
      state = front[name][stage]
      if "transfer" in state:
        found[name] = np.asarray(state["transfer"])
  return found


def _rows(
  denoised: Mapping[str, np.ndarray], wave: np.ndarray, rate: int
) -> list[tuple[str, np.ndarray]]:
  near, far = audio.to_float(wave)[:2]
  rows = [
    ("near", spectrogram.mel_spectrogram(near, rate)),
    ("far", spectrogram.mel_spectrogram(far, rate)),
  ]
  label = lambda n: n if len(denoised) > 1 else "denoised"
  return rows + [(label(n), x) for n, x in denoised.items()]


def find(
  programs: Programs,
  scored: Mapping[str, Mapping[str, Any]],
  config: Mapping[str, Any],
) -> list[Picture]:
  """Denoises two clips of each machine for the report.

  Args:
    programs: the compiled system.
    scored: machine to section to scores.
    config: `sample_rate`.

  Returns:
    Pictures, none where no trained encoder hears a denoised channel.
  """
  system = programs.system
  names = [
    n for n, b in system.branches.items() if b.front.denoises and b.encoder
  ]
  if not names:
    return []
  rate = config["sample_rate"]
  out = []
  for machine, sections in scored.items():
    for section, entry in sections.items():
      if not entry.clips or len(out) == MAX_PICTURED:
        continue
      state = entry.section.state
      heard = []
      for title, row in _pick(entry):
        clip = entry.clips[row]
        try:
          wave = audio.read(clip.path, sample_rate=rate)[0]
        except ValueError:  # changed or removed since it was scored
          continue
        found = programs.clip_features(state["front"], wave)
        rows = _rows({n: np.asarray(found[n])[0] for n in names}, wave, rate)
        seconds = clip.header.num_samples / clip.header.sample_rate
        heard.append(Heard(title, clip.name, seconds, rows))
      transfer = _transfers(system, names, state["front"])
      label = section if len(sections) > 1 else ""
      out.append(Picture(machine, label, rate, heard, transfer))
  return out


def _spectrograms(picture: Picture) -> str:
  """A column a clip, a row a stage, one colour scale."""
  num_rows = len(picture.clips[0].rows)
  every = [s for heard in picture.clips for _, s in heard.rows]
  limits = spectrogram.limits_of(every)
  with figures.drawing():
    height = 0.75 + 1.15 * num_rows
    fig = figures.figure(7.2, height, left=0.8, right=0.15, top=0.25)
    grid = fig.add_gridspec(
      num_rows, len(picture.clips), wspace=0.1, hspace=0.12
    )
    for column, heard in enumerate(picture.clips):
      for i, (title, spectrum) in enumerate(heard.rows):
        axes = fig.add_subplot(grid[i, column])
        spectrogram.panel(
          axes, spectrum, picture.rate, seconds=heard.seconds, limits=limits
        )
        if i == 0:
          axes.set_title(heard.title)
        if column == 0:
          axes.set_ylabel(f"{title}\nkHz")
        else:
          axes.tick_params(labelleft=False)
        if i + 1 < num_rows:
          axes.tick_params(labelbottom=False)
        else:
          axes.set_xlabel("time, s")
    names = " and ".join(f"{h.title} clip {h.name}" for h in picture.clips)
    return figures.svg(fig, f"Near, far and denoised spectrograms of {names}")


def _curve(picture: Picture) -> str:
  """The noise transfer over frequency."""
  (transfer,) = list(picture.transfer.values())[:1]
  kilohertz = np.linspace(0, picture.rate / 2000, len(transfer))
  with figures.drawing():
    fig = figures.figure(5.0, 2.2, left=0.7, right=0.05, top=0.15)
    axes = fig.add_subplot()
    axes.axhline(0, color=figures.FAINT, lw=0.8)
    axes.plot(kilohertz, 10 * np.log10(transfer), color=figures.ACCENT, lw=1.0)
    axes.set(xlabel="frequency, kHz", ylabel="near over far, dB")
    axes.set_xlim(0, kilohertz[-1])
    return figures.svg(fig, f"Noise transfer of {picture.machine}")


def _one(picture: Picture) -> str:
  name = text.escape(picture.machine)
  name += f" section {text.escape(picture.section)}" * bool(picture.section)
  files = " and ".join(
    f"<span class=file>{text.escape(h.name)}</span> ({h.title})"
    for h in picture.clips
  )
  body = f"<figure>{_spectrograms(picture)}<figcaption>{files}</figcaption>"
  body = f"{body}</figure>" if picture.clips else ""
  curves = ""
  if picture.transfer:
    median = float(np.median(next(iter(picture.transfer.values()))))
    curves = (
      f"<figure>{_curve(picture)}<figcaption>Noise transfer, median"
      f" G&nbsp;=&nbsp;{text.number(median)}</figcaption></figure>"
    )
  return f'<div class="machine-pictures"><h3>{name}</h3>{body}{curves}</div>\n'


def section(pictures: Sequence[Picture]) -> str:
  """All pictures with what they show.

  Args:
    pictures: what `find` returns.

  Returns:
    HTML, "" without pictures.
  """
  if not pictures:
    return ""
  lead = (
    "What the encoder hears: the near channel after the far one has served as"
    " noise reference, on one colour scale with both. The fault must still"
    " show in the last row."
  )
  if any(p.transfer for p in pictures):
    lead += (
      " The noise transfer is how much louder the quiet moments of the training"
      " clips are near the machine than far from it, bin by bin."
    )
  inside = "".join(map(_one, pictures))
  return (
    f'<section id="denoising"><h2>Denoising</h2><p>{lead}</p>\n'
    f"{inside}</section>"
  )
