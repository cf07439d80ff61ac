"""Why a clip is suspicious: parts of it swapped for parts of normal clips.

The method needs nothing but a score function, so it serves every system: each
time segment and each frequency band of the clip, in all channels at once, is
replaced by the same part of normal training clips; a part that raises the
score lets it fall when replaced.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.data import audio
from asd_jax.engine import system as system_lib
from asd_jax.engine.system import System
from asd_jax.ops import filterbank
from asd_jax.report import record
from asd_jax.report.spectrogram import mel_spectrogram
from asd_jax.typing import Array

Tree = Any
NUM_SEGMENTS = 10
NUM_BANDS = 12
_FADE_SAMPLES = 64
_MAP_ROWS = 16


def edges(num_samples: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
  """Edges of the parts.

  Args:
    num_samples: length of the clip, samples.
    rate: Hz.

  Returns:
    `[A + 1]` samples, and `[B + 1]` Hz at equal steps of the mel scale.
  """
  samples = np.linspace(0, num_samples, NUM_SEGMENTS + 1).round().astype(int)
  top = filterbank.slaney_mel(np.array(rate / 2.0))
  return samples, filterbank.slaney_hz(np.linspace(0, top, NUM_BANDS + 1))


def fitted(reference: np.ndarray, num_samples: int) -> np.ndarray:
  """Cuts or repeats `[C, S]` to another length."""
  # Machine sound is stationary: a short reference may be repeated.
  times = -(-num_samples // reference.shape[1])
  return np.tile(reference, (1, times))[:, :num_samples]


def swap_time(
  wave: np.ndarray, reference: np.ndarray, start: int, stop: int
) -> np.ndarray:
  """Takes a segment from another clip, with short cross-fades.

  Args:
    wave: `[C, S]`.
    reference: `[C, S]`.
    start: first sample.
    stop: sample after the last.

  Returns:
    `[C, S]`.
  """
  ramp = np.arange(wave.shape[1], dtype=np.float32)
  # A hard cut would be a click, and a click is an anomaly.
  inside = np.minimum(ramp - start, stop - 1 - ramp) / _FADE_SAMPLES + 0.5
  share = np.clip(inside, 0, 1)[None]
  return wave + share * (reference - wave)


def swap_band(
  wave: np.ndarray, reference: np.ndarray, low: float, high: float, rate: int
) -> np.ndarray:
  """Takes a frequency band from another clip.

  Args:
    wave: `[C, S]`.
    reference: `[C, S]`.
    low: lower edge, Hz.
    high: upper edge, Hz.
    rate: Hz.

  Returns:
    `[C, S]`.
  """
  num = wave.shape[1]
  freq = np.fft.rfftfreq(num, 1 / rate)
  # The last band takes the highest bin, which stands on its edge.
  inside = (freq >= low) & ((freq < high) | (high >= rate / 2))
  change = np.where(inside[None], np.fft.rfft(reference - wave), 0)
  return (wave + np.fft.irfft(change, num)).astype(np.float32)


def _swaps(
  wave: np.ndarray, references: Sequence[np.ndarray], rate: int
) -> Iterator[Callable[[], np.ndarray]]:
  """What makes each swap of float `[C, S]`: segments, then bands, of each."""
  samples, hertz = edges(wave.shape[1], rate)
  for reference in references:
    for ends in itertools.pairwise(samples):
      yield functools.partial(swap_time, wave, reference, *ends)
    for ends in itertools.pairwise(hertz):
      yield functools.partial(swap_band, wave, reference, *ends, rate)


def _as(wave: np.ndarray, dtype: np.dtype) -> np.ndarray:
  if dtype == np.int16:
    return np.clip(np.rint(wave * 32_768), -32_768, 32_767).astype(np.int16)
  return wave.astype(np.float32)


def explain(
  score: Callable[[np.ndarray], np.ndarray],
  wave: np.ndarray,
  references: Sequence[np.ndarray],
  *,
  batch_size: int,
  rate: int,
  known: list[float],
) -> record.Reason:
  """Measures how far the score falls without each part's oddness.

  Args:
    score: `[batch_size, C, S]` samples to `[batch_size]` scores.
    wave: `[C, S]` samples as decoded (int16 or float32).
    references: normal clips, `[C, S']` as decoded.
    batch_size: the only batch size that `score` sees.
    rate: Hz.
    known: scores of the clip and of its first swaps. Those that are found are
      added one batch after another, so that what was stopped can go on.

  Returns:
    The mean drops over the references.
  """
  clean = audio.to_float(wave)
  normals = [fitted(audio.to_float(r), wave.shape[1]) for r in references]
  # Made batch by batch: most of a kept reason is never needed again.
  swaps = [lambda: clean, *_swaps(clean, normals, rate)]
  for i in range(len(known), len(swaps), batch_size):
    rows = [_as(swap(), wave.dtype) for swap in swaps[i : i + batch_size]]
    # One batch size is one compiled program.
    padding = [wave] * (batch_size - len(rows))
    known += score(np.stack(rows + padding))[: len(rows)].tolist()
  found = np.array(known, np.float64)
  # An infinite score (no neighbour left) has no finite part.
  drop = np.nan_to_num(found[0] - found[1:], posinf=0.0, neginf=0.0)
  drop = drop.reshape(len(references), -1).mean(axis=0)  # [A + B]
  samples, hertz = edges(wave.shape[1], rate)
  split = len(samples) - 1
  return record.Reason(samples / rate, drop[:split], hertz, drop[split:])


def _is_bank(node: object) -> bool:
  return all(hasattr(node, name) for name in ("valid", "group", "replace"))


def has_bank(state: Tree) -> bool:
  """Whether a fitted state keeps rows of training clips."""
  return any(map(_is_bank, jax.tree.leaves(state, is_leaf=_is_bank)))


def bank_scorer(system: System) -> Callable[[Tree, Tree, Array], Array]:
  """Compiles the score of a clip against one training clip at a time.

  Args:
    system: a system whose state keeps bank rows (`valid` and `group`).

  Returns:
    `(state, features, [N] clip numbers) -> [N]`: the score if that training
    clip alone were in the bank.
  """

  def all_rows(state: Tree, feats: Tree, number: Array) -> Array:
    def one(n: Array) -> Array:
      def only(node: Any) -> Any:
        if not _is_bank(node):
          return node
        # Rows made from one clip come with it; those made from several are of
        # no clip (group -1) and leave.
        alone = node.replace(valid=node.valid & (node.group == n))
        mixed = getattr(node, "mixtures", None)
        if mixed is None:
          return alone
        # So do mixed rows that are not made: no pair of them is left.
        none = mixed.replace(penalty=jnp.full_like(mixed.penalty, jnp.inf))
        return alone.replace(mixtures=none)

      alone = jax.tree.map(only, state, is_leaf=_is_bank)
      return system_lib.score(system, system.hypers, alone, feats)

    # A few training clips at a time: all of them at once would need N copies
    # of what a score needs.
    rows = min(_MAP_ROWS, number.shape[0])
    return jax.lax.map(one, number, batch_size=rows)

  return jax.jit(all_rows)


def nearest_rows(
  compiled: Callable, state: Tree, features: Tree, num_train: int, num: int
) -> list[tuple[int, float]]:
  """The nearest training clips of a bank.

  Args:
    compiled: what `bank_scorer` returns.
    state: fitted state.
    features: of the clip, `{branch: [C', ...]}`.
    num_train: training clips N.
    num: how many to name.

  Returns:
    Position and score against it alone, nearest first.
  """
  number = jnp.arange(num_train, dtype=jnp.int32)
  score = np.asarray(compiled(state, features, number), np.float64)
  # A clip whose rows are all masked has no score against itself.
  score = np.where(np.isnan(score), np.inf, score)
  order = np.argsort(score, kind="stable")[:num]
  return [(int(i), float(score[i])) for i in order if np.isfinite(score[i])]


def mean_spectrum(wave: np.ndarray, rate: int) -> np.ndarray:
  """Mean log-mel spectrum of each channel.

  Args:
    wave: `[C, S]` samples as decoded.
    rate: Hz.

  Returns:
    `[C, M]` dB.
  """
  clean = audio.to_float(wave)
  return np.stack([mel_spectrogram(c, rate).mean(axis=0) for c in clean])


def nearest_spectra(
  here: np.ndarray, others: Sequence[np.ndarray], num: int
) -> list[int]:
  """The clips with the nearest mean log-mel spectrum, for lack of a bank.

  Args:
    here: `[C, M]` mean spectrum.
    others: `[C, M]` each.
    num: how many.

  Returns:
    Positions in `others`, nearest first.
  """
  distance = [float(np.square(x - here).sum()) for x in others]
  return [int(i) for i in np.argsort(distance, kind="stable")[:num]]
