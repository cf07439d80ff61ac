"""A picture of one simulated example of a pre-training."""

import io
from collections.abc import Mapping, Sequence

import numpy as np

from asd_jax.report import spectrogram

_WIDTH, _HEIGHT = 7.0, 1.7  # of a spectrogram, inches


def picture(
  waves: Mapping[str, np.ndarray], rate: int, lines: Sequence[str]
) -> bytes:
  """Draws spectrograms one below the other, with the same colours.

  Args:
    waves: `[S]` by title.
    rate: Hz.
    lines: what is told above them.

  Returns:
    A PNG file.
  """
  from matplotlib.figure import Figure  # slow to import

  spectra = {n: spectrogram.mel_spectrogram(w, rate) for n, w in waves.items()}
  limits = spectrogram.limits_of([*spectra.values()])
  head = 0.25 * (len(lines) + 1)
  height = head + _HEIGHT * len(waves)
  fig = Figure(figsize=(_WIDTH, height))
  fig.subplots_adjust(
    left=0.08, right=0.98, bottom=0.4 / height, top=1 - head / height,
    hspace=0.5,
  )  # fmt: skip
  # A file name with two dollar signs is no formula.
  text = "\n".join(lines)
  fig.text(0.08, 1 - 0.1 / height, text, va="top", size=8, parse_math=False)
  for axes, (name, spectrum) in zip(
    fig.subplots(len(waves), 1, squeeze=False)[:, 0], spectra.items(),
    strict=True,
  ):  # fmt: skip
    seconds = len(waves[name]) / rate
    spectrogram.panel(axes, spectrum, rate, seconds=seconds, limits=limits)
    axes.set_title(name, loc="left", size=9)
    axes.set_ylabel("kHz", size=8)
  axes.set_xlabel("s")
  out = io.BytesIO()
  fig.savefig(out, format="png", dpi=110, metadata={"Software": None})
  return out.getvalue()
