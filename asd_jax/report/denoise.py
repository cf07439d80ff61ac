"""What a denoising front end does to a normal and to an anomalous clip."""

import numpy as np

from asd_jax.report import figures, record, spectrogram, text

TITLE = "Denoising"


def _spectrograms(one: record.Denoised) -> str:
  """A column a clip, a row a stage, one colour scale."""
  num_rows = len(one.clips[0].rows)
  # One scale for all, or denoising would look like a change of brightness.
  every = [s for heard in one.clips for _, s in heard.rows]
  limits = spectrogram.limits_of(every)
  with figures.drawing():
    height = 0.75 + 1.15 * num_rows
    fig = figures.figure(7.2, height, left=0.8, right=0.65, top=0.25)
    grid = fig.add_gridspec(num_rows, len(one.clips), wspace=0.1, hspace=0.12)
    for column, heard in enumerate(one.clips):
      for i, (title, spectrum) in enumerate(heard.rows):
        axes = fig.add_subplot(grid[i, column])
        spectrogram.panel(
          axes, spectrum, one.rate, seconds=heard.seconds, limits=limits
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
    spectrogram.scale(
      fig.add_axes((6.65 / 7.2, 0.5 / height, 0.12 / 7.2, 1 - 0.75 / height)),
      limits,
    )
    names = " and ".join(f"{h.title} clip {h.name}" for h in one.clips)
    return figures.svg(fig, f"Near, far and denoised spectrograms of {names}")


def _curve(one: record.Denoised) -> str:
  """The noise transfer over frequency."""
  # Branches of one system measure the same room; one curve stands for all.
  (transfer,) = list(one.transfer.values())[:1]
  kilohertz = np.linspace(0, one.rate / 2000, len(transfer))
  with figures.drawing():
    fig = figures.figure(5.0, 2.2, left=0.7, right=0.05, top=0.15)
    axes = fig.add_subplot()
    axes.axhline(0, color=figures.FAINT, lw=0.8)
    axes.plot(kilohertz, 10 * np.log10(transfer), color=figures.ACCENT, lw=1.0)
    axes.set(xlabel="frequency, kHz", ylabel="near over far, dB")
    axes.set_xlim(0, kilohertz[-1])
    return figures.svg(fig, f"Noise transfer of {one.machine}")


def _one(one: record.Denoised) -> str:
  name = text.escape(one.machine)
  name += f" section {text.escape(one.section)}" * bool(one.section)
  files = " and ".join(
    f"<span class=file>{text.escape(h.name)}</span> ({h.title})"
    for h in one.clips
  )
  body = curves = ""
  if one.clips:  # else their files were changed or removed in the meantime
    body = f"<figure>{_spectrograms(one)}<figcaption>{files}</figcaption>"
    body = f"{body}</figure>"
  if one.transfer:
    median = float(np.median(next(iter(one.transfer.values()))))
    curves = (
      f"<figure>{_curve(one)}<figcaption>Noise transfer, median"
      f" G&nbsp;=&nbsp;{text.number(median)}</figcaption></figure>"
    )
  return f'<div class="machine-pictures"><h3>{name}</h3>{body}{curves}</div>\n'


def section(run: record.Run) -> str:
  """All examples with what they show.

  Args:
    run: the run.

  Returns:
    HTML, "" without examples.
  """
  if not run.denoised:
    return ""
  lead = (
    "What the encoder hears: the near channel after the far one has served as"
    " noise reference, on one colour scale with both. The fault must still"
    " show in the last row."
  )
  # Some denoisers learn no transfer.
  if any(d.transfer for d in run.denoised):
    lead += (
      " The noise transfer is how much louder the quiet moments of the training"
      " clips are near the machine than far from it, bin by bin."
    )
  inside = "".join(map(_one, run.denoised))
  return (
    f'<section id="denoising"><h2>Denoising</h2><p>{lead}</p>\n'
    f"{inside}</section>"
  )
