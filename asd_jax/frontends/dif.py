"""Domain-invariant features: 151 numbers of a two-channel clip, or some."""

import functools

import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.frontends.base import Frontend
from asd_jax.ops import masks, signal, spectral_shape, waveform
from asd_jax.typing import Array

TINY = waveform.TINY
NUM_CEPSTRA = 13
BAND_EDGES_HZ = (
  *(0.0, 125.0, 250.0, 500.0, 750.0, 1000.0),
  *(1500.0, 2000.0, 3000.0, 4000.0, 6000.0, 8000.0),
)
_HIGH_HZ = 4000.0
# Lower rates leave the upper bands empty.
LOWEST_RATE = 16_000
# Group, size, whether it compares the channels, and what is kept by default.
GROUPS = (
  ("dmfcc_std", 26, False, range(26)),
  ("mfcc_mean", 13, False, range(13)),
  ("contrast", 14, False, range(14)),
  ("band_ratio", 11, False, range(11)),
  ("shape", 8, False, range(8)),
  ("impulse", 8, False, range(8)),
  ("stereo", 7, True, range(7)),
  ("lr_band", 11, True, range(1, 10)),  # the report has 9
  ("mfcc_diff", 13, True, range(13)),
  ("coherence", 11, True, range(11)),
  ("mfcc_std", 13, False, ()),
  ("shape_extra", 6, False, ()),
  ("level", 6, False, ()),
  ("stereo_extra", 4, True, ()),
)
NAMES = tuple(f"{name}_{i}" for name, num, _, _ in GROUPS for i in range(num))
IS_STEREO = tuple(stereo for _, num, stereo, _ in GROUPS for _ in range(num))
DEFAULT_KEEP = tuple(
  i in keep for _, num, _, keep in GROUPS for i in range(num)
)


def _mean_and_deviation(frames: Array, num: Array | None) -> list[Array]:
  """Means, then deviations, over frames of `[T, n]`."""
  return [masks.mean(frames, num=num), waveform.deviation(frames, num=num)]


def _cepstral(cepstra: Array, num: Array | None) -> dict[str, Array]:
  """Groups of the cepstra `[2, T, 14]` of both channels."""
  # The zeroth coefficient is the level, and goes to the group of that name.
  near = cepstra[0, :, 1:]
  slopes = [
    spectral_shape.delta(near, order=order, num_frames=num) for order in (1, 2)
  ]
  mean = masks.mean(cepstra[:, :, 1:], num=num, axis=1)
  return {
    "dmfcc_std": jnp.concatenate(
      [waveform.deviation(s, num=num) for s in slopes]
    ),
    "mfcc_mean": mean[0],
    "mfcc_diff": mean[0] - mean[1],
    "mfcc_std": waveform.deviation(near, num=num),
  }


def _spectral(
  power: Array, magnitude: Array, sample_rate: int, num: Array | None
) -> dict[str, Array]:
  """Groups of the near channel's frames, `[2, T, F]`, and shapes of both."""
  contrast = spectral_shape.spectral_contrast(
    magnitude[0], sample_rate=sample_rate
  )
  shapes = spectral_shape.shape(magnitude)
  # The bandwidth is not compared.
  gap = masks.mean(shapes[0] - shapes[1], num=num)
  extra = [
    (spectral_shape.entropy(power[0]), num),
    # Of each frame but the first.
    (spectral_shape.flux(magnitude[0]), None if num is None else num - 1),
  ]
  extra = [x for e, n in extra for x in _mean_and_deviation(e[:, None], n)]
  return {
    "contrast": jnp.concatenate(_mean_and_deviation(contrast, num)),
    "shape": jnp.concatenate(_mean_and_deviation(shapes[0], num)),
    "shape_gap": gap,
    "entropy_flux": jnp.concatenate(extra),
  }


def _bands(
  spectra: Array, power: Array, sample_rate: int, num_frames: Array | None
) -> dict[str, Array]:
  """Groups of what is averaged over frames, band by band."""
  mean = masks.mean(power, num=num_frames, axis=1)  # [2, F]
  num = mean.shape[1]
  edges = (BAND_EDGES_HZ, (0.0, _HIGH_HZ, BAND_EDGES_HZ[-1]))
  bands, halves = (
    spectral_shape.band_matrix(e, num, sample_rate=sample_rate) for e in edges
  )
  of = lambda x, matrix: jnp.matmul(
    x, jnp.asarray(matrix, x.dtype), precision="highest"
  )
  # Averaged over frames before any ratio, so that silent frames do not decide.
  energy, split = of(mean, bands), of(mean, halves)
  share = split[:, 1] / (jnp.sum(split, axis=1) + TINY)
  coherence = spectral_shape.magnitude_squared_coherence(
    spectra, num_frames=num_frames
  )
  # The mean over the bins of a band, where energies above are sums.
  coherence = of(coherence, bands / np.maximum(bands.sum(0), 1.0))
  lag, peak = spectral_shape.gcc_phat(spectra, num_frames=num_frames)
  return {
    "band_ratio": waveform.level_difference(
      energy[0], jnp.broadcast_to(jnp.sum(energy[0]), energy[0].shape)
    ),
    "lr_band": waveform.level_difference(energy[0], energy[1]),
    "coherence": coherence,
    "high_gap": share[0] - share[1],
    "delay": jnp.stack([lag, peak, waveform.deviation(coherence)]),
  }


def _samples(
  wave: Array,
  scaled: Array,
  fft_samples: int,
  hop_samples: int,
  num_samples: Array | None,
) -> dict[str, Array]:
  """Groups of the samples, `wave` as recorded and `scaled` by one gain."""
  sizes = dict(frame_samples=fft_samples, hop_samples=hop_samples)
  mean = lambda x: waveform.mean(x, num_samples=num_samples)
  num = None
  if num_samples is not None:
    num = 1 + (num_samples - fft_samples) // hop_samples
  near, far = scaled
  power = mean(jnp.square(scaled))
  middle = mean(jnp.square(0.5 * (near + far)))
  side = mean(jnp.square(0.5 * (near - far)))
  level = waveform.frame_power(scaled, **sizes)  # [2, T]
  level = waveform.level_difference(level[0], level[1])
  # Only these are of the waveform as recorded: they follow the gain.
  square = jnp.square(wave)
  loudness = jnp.concatenate([mean(square), jnp.max(square, axis=1)])
  crossing = waveform.zero_crossing_rate(near, **sizes)
  return {
    "impulse": waveform.impulsiveness(near, **sizes, num_samples=num_samples),
    "correlation": waveform.pearson(near, far, num_samples=num_samples),
    "level_gap": waveform.level_difference(power[0], power[1]),
    "middle_side": waveform.level_difference(middle, side),
    "level_gap_std": waveform.deviation(level, num=num),
    "loudness": waveform.decibel(loudness + TINY),
    "crossing": jnp.stack(_mean_and_deviation(crossing, num)),
  }


def candidates(
  wave: Array,
  *,
  fft_samples: int = 1024,
  hop_samples: int = 512,
  sample_rate: int = 16_000,
  num_samples: Array | None = None,
) -> Array:
  """All candidate features of a clip, in the order of `NAMES`.

  Both channels are divided by the near channel's level, so all but `level`
  are independent of the recording gain.

  Args:
    wave: `[2, S]` near and far waveform, of at least `min_samples`.
    fft_samples: window and transform length.
    hop_samples: hop, samples.
    sample_rate: Hz.
    num_samples: `[]` samples that count, the others are zero; None for all.

  Returns:
    `[151]` features.

  Source: [KonicaMinolta26] Sec. 2.1.2 names groups and sizes; their members
  are our choice.
  """
  # One gain for both, or their difference in level would be lost.
  square = waveform.mean(jnp.square(wave[0]), num_samples=num_samples)
  gain = waveform.root(square) + 1e-8
  scaled = wave[:2] / gain
  spectra = signal.stft(
    scaled, fft_samples=fft_samples, hop_samples=hop_samples
  )
  num = None if num_samples is None else 1 + num_samples // hop_samples
  # Frames that do not count are silent: no maximum over frames is theirs.
  spectra = masks.zeroed(spectra, num, axis=1)
  power = signal.power(spectra)
  cepstra = spectral_shape.mfcc(power, sample_rate=sample_rate)
  zeroth = _mean_and_deviation(cepstra[0, :, :1], num)
  found = {
    **_cepstral(cepstra, num),
    **_spectral(power, waveform.root(power), sample_rate, num),
    **_bands(spectra, power, sample_rate, num),
    **_samples(wave[:2], scaled, fft_samples, hop_samples, num_samples),
  }
  gap = found["shape_gap"]
  found["stereo"] = jnp.stack(
    [
      found["correlation"],
      found["level_gap"],
      found["middle_side"],
      # Of the centroid; 2 and 3 are of rolloff and flatness.
      gap[0],
      found["high_gap"],
      gap[2],
      gap[3],
    ]
  )
  join = lambda *parts: jnp.concatenate([jnp.atleast_1d(p) for p in parts])
  found["shape_extra"] = join(found["entropy_flux"], found["crossing"])
  found["level"] = join(found["loudness"], *zeroth)
  lag, peak, spread = found["delay"]
  found["stereo_extra"] = join(lag, peak, found["level_gap_std"], spread)
  return jnp.concatenate([found[name] for name, *_ in GROUPS])


def chosen(features: str | tuple[str, ...]) -> np.ndarray:
  """Which candidates a setting keeps.

  Args:
    features: `"default"`, the 120 of the report's groups; `"all"`; or names.

  Returns:
    `[n]` indices, in the order of `NAMES`.

  Raises:
    InputError: for other words, unknown or repeated names, or none.
  """
  if features == "all":
    return np.arange(len(NAMES))
  if features == "default":
    return np.flatnonzero(DEFAULT_KEEP)
  if isinstance(features, str) or not features:
    raise errors.InputError(
      f"dif: features: found {features!r}, expected 'default', 'all' or names"
      " of features."
    )
  unknown = sorted(set(features) - set(NAMES))
  if unknown or len(set(features)) < len(features):
    raise errors.InputError(
      f"dif: features: found {unknown[0] if unknown else 'a name twice'!r},"
      f" expected different names such as {NAMES[0]!r} and {NAMES[-1]!r}."
    )
  # In the order of `NAMES`, whatever the order of the setting: two configs
  # with the same features give the same vectors.
  return np.flatnonzero(np.isin(NAMES, features))


def min_samples(*, fft_samples: int = 1024, hop_samples: int = 512) -> int:
  """Samples that a clip must have: one frame, and nine for the deltas."""
  return max(fft_samples, (spectral_shape.DELTA_WIDTH - 1) * hop_samples)


def dif(
  *,
  features: str | tuple[str, ...] = "default",
  fft_samples: int = 1024,
  hop_samples: int = 512,
  sample_rate: int = 16_000,
) -> Frontend:
  """Domain-invariant features of near and far, one vector a clip.

  Args:
    features: `"default"` (80 of the near channel and 40 of both), `"all"`, or
      the names of those to keep.
    fft_samples: window and transform length.
    hop_samples: hop, samples.
    sample_rate: Hz.

  Returns:
    `[2, S] -> [1, 1, D]`, D features as the only frame of one channel.

  Raises:
    InputError: for unknown features, or a rate that leaves bands empty.

  Source: [KonicaMinolta26] Sec. 2.1.2.
  """
  index = chosen(features)
  if sample_rate < LOWEST_RATE:
    raise errors.InputError(
      f"dif: found a sample rate of {sample_rate} Hz, expected {LOWEST_RATE} or"
      " more."
    )
  sizes = dict(fft_samples=fft_samples, hop_samples=hop_samples)
  compute = functools.partial(candidates, sample_rate=sample_rate, **sizes)

  def apply(state: object, wave: Array, num: Array | None = None) -> Array:
    return compute(wave, num_samples=num)[index][None, None]  # [1, 1, D]

  return Frontend(
    None,
    None,
    apply,
    lambda num: 1,
    lambda num: min_samples(**sizes),
    2,
    sample_rate=sample_rate,
    apply_part=apply,
  )


FRONTENDS = {"dif": dif}
