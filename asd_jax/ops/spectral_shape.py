"""What a spectrogram looks like: cepstra, contrast, centroid and the like."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.ops import filterbank, masks, signal, waveform
from asd_jax.typing import Array

TINY = waveform.TINY
# Frames that a delta looks at, and what it is divided by.
DELTA_WIDTH = 9


def cosine_basis(num_bands: int, num_out: int) -> np.ndarray:
  """Orthonormal type-II cosine basis, `[num_bands, num_out]` float64."""
  place = np.pi * (2 * np.arange(num_bands)[:, None] + 1) / (2 * num_bands)
  basis = np.cos(place * np.arange(num_out)[None])
  basis *= np.sqrt(2.0 / num_bands)
  basis[:, 0] /= np.sqrt(2.0)
  return basis


def mfcc(
  power: Array,
  *,
  num_coefficients: int = 14,
  num_mels: int = 128,
  sample_rate: int = 16_000,
) -> Array:
  """Mel-frequency cepstral coefficients, 80 dB below the clip's largest band.

  Args:
    power: `[..., T, F]` power spectra.
    num_coefficients: how many, the zeroth included.
    num_mels: Slaney bands.
    sample_rate: Hz.

  Returns:
    `[..., T, num_coefficients]`, equal to librosa's.
  """
  weights = filterbank.mel_filters(
    "slaney",
    num_mels,
    fft_samples=2 * (power.shape[-1] - 1),
    sample_rate=sample_rate,
  )
  highest = jax.lax.Precision.HIGHEST
  bank = jnp.asarray(weights, power.dtype)
  mel = jnp.matmul(power, bank, precision=highest)
  level = filterbank.decibel_in_range(mel, top_db=80.0)
  basis = jnp.asarray(cosine_basis(num_mels, num_coefficients), power.dtype)
  return jnp.matmul(level, basis, precision=highest)


def delta(
  frames: Array, *, order: int = 1, num_frames: Array | None = None
) -> Array:
  """Slope or curvature of a polynomial fitted to nine frames.

  Args:
    frames: `[T, D]` nine frames or more.
    order: 1 for the slope, 2 for the second difference.
    num_frames: `[]` frames that count, nine or more; None for all.

  Returns:
    `[T, D]`; the four frames at each end repeat the nearest one that has all
    its neighbours. Equal to librosa's.

  Raises:
    InputError: for fewer frames or another order.
  """
  half = DELTA_WIDTH // 2
  num = frames.shape[0] - 2 * half
  if num < 1 or order not in (1, 2):
    raise errors.InputError(
      f"delta: found {frames.shape[0]} frames and order {order}, expected at"
      f" least {DELTA_WIDTH} and 1 or 2."
    )
  offset = np.arange(-half, half + 1)
  weight = offset / 60.0 if order == 1 else (3.0 * offset**2 - 20.0) / 462.0
  parts = [float(w) * frames[i : i + num] for i, w in enumerate(weight)]
  inner = sum(parts[1:], start=parts[0])
  if num_frames is None:
    return jnp.pad(inner, ((half, half), (0, 0)), mode="edge")
  place = jnp.arange(frames.shape[0]) - half
  return inner[jnp.clip(place, 0, num_frames - 2 * half - 1)]


def _mean_of_smallest(x: Array, num: int) -> Array:
  """Mean of the `num` smallest, `[T]` of `[T, n]`, without a sort."""
  left = jnp.full(x.shape[:1], num)
  total = jnp.zeros(x.shape[:1], x.dtype)
  for _ in range(num):
    # Equal values leave together, as many as are still wanted.
    least = jnp.min(x, axis=1)
    same = x <= least[:, None]
    count = jnp.minimum(jnp.sum(same, axis=1), left)
    total += jnp.where(count > 0, least, 0.0) * count
    left -= count
    x = jnp.where(same, jnp.inf, x)
  return total / num


def contrast_bands(
  num_bins: int, *, sample_rate: int = 16_000
) -> list[tuple[int, int, int]]:
  """Bands of the spectral contrast, an octave each from 200 Hz on.

  Args:
    num_bins: bins F.
    sample_rate: Hz.

  Returns:
    First bin, end, and how many bins make peak and valley; seven times.
  """
  freq = np.linspace(0.0, sample_rate / 2, num_bins)
  edges = [0.0, *(200.0 * 2.0 ** np.arange(6))]
  out = []
  for i, low in enumerate(edges):
    last = i == len(edges) - 1
    inside = (freq >= low) & (last | (freq <= 2.0 * max(low, 100.0)))
    where = np.flatnonzero(inside)
    # librosa lets each band but the first begin a bin early, and all but the
    # last leave out their last bin.
    start, end = int(where[0]) - (i > 0), int(where[-1]) + 1
    num = max(int(np.rint(0.02 * (end - start))), 1)
    out.append((start, end - (not last), num))
  return out


def spectral_contrast(magnitude: Array, *, sample_rate: int = 16_000) -> Array:
  """Peaks over valleys in seven bands.

  Args:
    magnitude: `[T, F]` magnitudes.
    sample_rate: Hz.

  Returns:
    `[T, 7]` dB, equal to librosa's with a quantile of 0.02.
  """
  valleys, peaks = [], []
  bands = contrast_bands(magnitude.shape[1], sample_rate=sample_rate)
  for start, end, num in bands:
    band = magnitude[:, start:end]
    valleys.append(_mean_of_smallest(band, num))
    peaks.append(-_mean_of_smallest(-band, num))
  level = lambda x: filterbank.decibel_in_range(
    jnp.stack(x, axis=1), top_db=80.0
  )
  return level(peaks) - level(valleys)


def rolloff(magnitude: Array, *, share: float = 0.85) -> Array:
  """First bin up to which a share of the magnitudes lies.

  Blocks of bins are added up first, then the bins of the one block where the
  share is reached.

  Args:
    magnitude: `[..., F]` magnitudes.
    share: 0 to 1.

  Returns:
    `[...]` float, the number of bins below it; 0 for silence.
  """
  num = magnitude.shape[-1]
  # Sums over blocks keep their digits where one long sum loses them.
  size = math.isqrt(num - 1) + 1
  pad = [(0, 0)] * (magnitude.ndim - 1) + [(0, -num % size)]
  x = jnp.pad(magnitude, pad).reshape(*magnitude.shape[:-1], -1, size)
  ends = jnp.cumsum(jnp.sum(x, axis=-1), axis=-1)  # [..., blocks]
  limit = share * ends[..., -1:]
  before = ends < limit
  block = jnp.sum(before, axis=-1)
  start = jnp.max(jnp.where(before, ends, 0.0), axis=-1, keepdims=True)
  inside = jnp.take_along_axis(x, block[..., None, None], axis=-2)[..., 0, :]
  below = start + jnp.cumsum(inside, axis=-1) < limit
  found = block * size + jnp.sum(below, axis=-1)
  return found.astype(magnitude.dtype)


def shape(magnitude: Array, *, share: float = 0.85) -> Array:
  """Centroid, bandwidth, roll-off and flatness of each frame.

  Args:
    magnitude: `[..., T, F]` magnitudes.
    share: of the magnitudes that lie up to the roll-off.

  Returns:
    `[..., T, 4]`; the first three as fractions of the highest frequency.
  """
  num = magnitude.shape[-1]
  freq = jnp.linspace(0.0, 1.0, num).reshape(
    (1,) * (magnitude.ndim - 1) + (-1,)
  )
  total = jnp.sum(magnitude, axis=-1, keepdims=True)
  part = magnitude / jnp.maximum(total, TINY)
  centroid = jnp.sum(freq * part, axis=-1)
  away = jnp.square(freq - centroid[..., None])
  bandwidth = waveform.root(jnp.sum(part * away, axis=-1))
  place = rolloff(magnitude, share=share) / (num - 1)
  power = jnp.maximum(jnp.square(magnitude), 1e-10)
  log_mean = jnp.mean(jnp.log(power), axis=-1)
  flatness = jnp.exp(log_mean) / jnp.mean(power, axis=-1)
  return jnp.stack([centroid, bandwidth, place, flatness], axis=-1)


def entropy(power: Array) -> Array:
  """Entropy of each frame's power over frequency, 1 for a flat spectrum.

  Args:
    power: `[T, F]` power spectra.

  Returns:
    `[T]`.
  """
  total = jnp.sum(power, axis=1, keepdims=True)
  part = power / jnp.maximum(total, TINY)
  nats = -jnp.sum(part * jnp.log(part + TINY), axis=1)
  return nats / float(np.log(power.shape[1]))


def flux(magnitude: Array) -> Array:
  """How far the shape of a spectrum is from that of the frame before.

  Args:
    magnitude: `[T, F]` magnitudes.

  Returns:
    `[T - 1]` Euclidean norms.
  """
  total = jnp.sum(magnitude, axis=1, keepdims=True)
  part = magnitude / jnp.maximum(total, TINY)
  return waveform.root(jnp.sum(jnp.square(part[1:] - part[:-1]), axis=1))


def band_matrix(
  edges: tuple[float, ...], num_bins: int, *, sample_rate: int = 16_000
) -> np.ndarray:
  """Which band each bin lies in, by edges in Hz.

  A bin on an edge belongs to the band above it; the last band has all bins
  from its lower edge on.

  Args:
    edges: edges in Hz, one more than bands.
    num_bins: bins F.
    sample_rate: Hz.

  Returns:
    `[F, len(edges) - 1]` ones and zeros.
  """
  freq = np.linspace(0.0, sample_rate / 2, num_bins)
  band = np.searchsorted(edges, freq, side="right") - 1
  # The last band is open: it takes what lies above its upper edge.
  band = np.minimum(band, len(edges) - 2)
  return (band[:, None] == np.arange(len(edges) - 1)[None]).astype(np.float64)


def magnitude_squared_coherence(
  spectra: Array, *, num_frames: Array | None = None
) -> Array:
  """Coherence of two channels over a whole clip.

  Args:
    spectra: `[2, T, F]` complex spectra.
    num_frames: `[]` frames that count; None for all.

  Returns:
    `[F]`, 0 to 1.
  """
  power = masks.mean(signal.power(spectra), num=num_frames, axis=1)  # [2, F]
  cross = masks.mean(spectra[0] * jnp.conj(spectra[1]), num=num_frames)
  return signal.power(cross) / (power[0] * power[1] + TINY**2)


def gcc_phat(
  spectra: Array, *, max_lag: int = 32, num_frames: Array | None = None
) -> tuple[Array, Array]:
  """Lag of the near channel behind the far one, by phases only.

  Args:
    spectra: `[2, T, F]` complex spectra.
    max_lag: largest lag either way, samples.
    num_frames: `[]` frames that count; None for all.

  Returns:
    `[]` lag in samples, above 0 where the near channel is later, and `[]`
    height of its peak.
  """
  cross = masks.mean(spectra[0] * jnp.conj(spectra[1]), num=num_frames)
  size = waveform.root(signal.power(cross))
  found = jnp.fft.irfft(cross / jnp.maximum(size, TINY))
  # Negative lags stand at the end of the transform.
  near_zero = jnp.concatenate([found[-max_lag:], found[: max_lag + 1]])
  place = jnp.argmax(near_zero)
  return (place - max_lag).astype(found.dtype), near_zero[place]
