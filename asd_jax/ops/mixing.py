"""Convolution with room responses and mixing at a signal-to-noise ratio.

References: [MERL26] Sec. 3.1 and 4.1, and its public code.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import scipy.fft
from flax import struct

from asd_jax import errors
from asd_jax.ops.geometry import SPEED_OF_SOUND
from asd_jax.ops.room import HALF_TAPS, SAMPLE_RATE
from asd_jax.typing import Array

POWER_FLOOR = 1e-8
_MAX_FFT = 65_536  # longer signals are convolved block by block


class Mixture(struct.PyTreeNode):
  """A simulated recording and its parts; `jit` drops what nobody reads.

  Attributes:
    clean: `[S]` early sound of the machine at the near microphone.
    near: `[S]` near recording.
    far: `[S]` far recording.
    target: `[2, S]` reverberant machine at both microphones.
    noise: `[2, S]` sum of the noises at both microphones, before the gain.
    noise_gain: `[]` gain of the noise, the same at both microphones.
  """

  clean: Array
  near: Array
  far: Array
  target: Array
  noise: Array
  noise_gain: Array


def convolve(signal: Array, response: Array, *, delay: int = 0) -> Array:
  """Linear convolution by FFT, cut to the length of the signal.

  Signals much longer than the response are cut into blocks (overlap-add),
  which costs about half of one long transform.

  Args:
    signal: `[..., S]` dry signal.
    response: `[..., L]` impulse response; leading axes broadcast.
    delay: samples dropped from the start of the result.

  Returns:
    `[..., S]` samples `delay` to `delay + S` of the convolution.
  """
  length = signal.shape[-1] + delay
  hop, size = _block(length, response.shape[-1])
  spectrum = _block_spectra(signal, hop=hop, size=size, length=length)
  product = spectrum * jnp.fft.rfft(response, size)[..., None, :]
  return _overlap_add(jnp.fft.irfft(product, size), hop)[..., delay:length]


def _block(length: int, taps: int) -> tuple[int, int]:
  """Samples a block and transform size for a convolution."""
  whole = scipy.fft.next_fast_len(length + taps - 1, real=True)
  if whole <= max(_MAX_FFT, 4 * taps):
    return length, whole
  size = 1 << (4 * taps - 1).bit_length()
  return size - taps + 1, size


def _block_spectra(signal: Array, *, hop: int, size: int, length: int) -> Array:
  """`[..., S]` to spectra of blocks, `[..., ceil(length / hop), F]`."""
  *lead, samples = signal.shape
  num = -(-length // hop)
  pad = [(0, 0)] * len(lead) + [(0, num * hop - samples)]
  return jnp.fft.rfft(jnp.pad(signal, pad).reshape(*lead, num, hop), size)


def _overlap_add(blocks: Array, hop: int) -> Array:
  """`[..., num, size]` blocks with tails to `[..., num * hop]`."""
  *lead, num, size = blocks.shape
  body, tail = blocks[..., :hop], blocks[..., :-1, hop:]
  pad = [(0, 0)] * len(lead) + [(1, 0), (0, max(0, 2 * hop - size))]
  body = body + jnp.pad(tail, pad)[..., :hop]
  return body.reshape(*lead, num * hop)


def direct_delay(distance: Array) -> Array:
  """Samples until the direct sound arrives in a response.

  Args:
    distance: `[]` nominal distance of source and microphone in metres.

  Returns:
    `[]` integer; counts the `HALF_TAPS` that responses start late.
  """
  samples = jnp.floor(distance / SPEED_OF_SOUND * SAMPLE_RATE)
  return samples.astype(jnp.int32) + HALF_TAPS


def early(
  response: Array, *, distance: Array | float = 0.05, seconds: float = 0.05
) -> Array:
  """Sets a response to zero from 50 ms after the direct sound on.

  Args:
    response: `[..., L]` impulse response.
    distance: `[]` nominal distance of source and microphone in metres.
    seconds: what is kept after the direct sound.

  Returns:
    `[..., L]`.

  Source: [MERL26] Sec. 3.1.
  """
  end = direct_delay(jnp.asarray(distance)) + round(seconds * SAMPLE_RATE)
  # A hard cut, as in the public code.
  return jnp.where(jnp.arange(response.shape[-1]) < end, response, 0.0)


def noise_gain(target: Array, noise: Array, snr_db: Array) -> Array:
  """Gain of the noise for a signal-to-noise ratio.

  Args:
    target: `[S]` machine at the near microphone, reverberant.
    noise: `[S]` sum of the noises at the near microphone.
    snr_db: `[]` wanted ratio of their powers over the whole clip.

  Returns:
    `[]` factor on the noise.

  Source: [MERL26] public code.
  """
  # Of the reverberant sound: of the dry one, the ratio would depend on the
  # room.
  wanted = jnp.mean(jnp.square(target)) / jnp.power(10.0, snr_db / 10.0)
  return jnp.sqrt(wanted / (jnp.mean(jnp.square(noise)) + POWER_FLOOR))


def mix(
  target: Array,
  noise: Array,
  response: Array,
  snr_db: Array,
  *,
  distance: Array | float = 0.05,
  delay: int = 0,
) -> Mixture:
  """Simulates one recording of a machine among noises.

  Args:
    target: `[S]` dry machine sound.
    noise: `[N, S]` dry noises, at their recorded levels.
    response: `[2, 1 + N, L]` responses near and far; target, then noises.
    snr_db: `[]` signal-to-noise ratio at the near microphone.
    distance: `[]` nominal distance of target and near microphone in metres.
    delay: samples dropped from the start of every convolution; 0 keeps the
      delay of the room, which near recording and clean sound share.

  Returns:
    The mixture; levels are left as they are.

  Source: [MERL26] Sec. 3.1 and 4.1.
  """
  length = target.shape[-1] + delay
  hop, size = _block(length, response.shape[-1])
  dry = jnp.concatenate([target[None], noise])  # [1 + N, S]
  spectra = _block_spectra(dry, hop=hop, size=size, length=length)
  room = jnp.fft.rfft(response, size)[..., None, :]  # [2, 1 + N, 1, F]
  first = jnp.fft.rfft(early(response[0, 0], distance=distance), size)
  product = jnp.concatenate(
    [  # [5, num, F]
      spectra[:1] * room[:, 0],
      jnp.sum(spectra[None, 1:] * room[:, 1:], axis=1),
      spectra[:1] * first[None, None],
    ]
  )
  wet = _overlap_add(jnp.fft.irfft(product, size), hop)[:, delay:length]
  near_gain = noise_gain(wet[0], wet[2], snr_db)
  return Mixture(
    clean=wet[4],
    near=wet[0] + near_gain * wet[2],
    far=wet[1] + near_gain * wet[3],
    target=wet[:2],
    noise=wet[2:4],
    noise_gain=near_gain,
  )


def mix_single(target: Array, noise: Array, snr_db: Array) -> Array:
  """Adds a noise to a dry signal without a room, clipped to [-1, 1].

  Args:
    target: `[S]` signal.
    noise: `[S]` noise.
    snr_db: `[]` signal-to-noise ratio.

  Returns:
    `[S]`.

  Source: [MERL26] public code, earlier recipe.
  """
  mixed = target + noise_gain(target, noise, snr_db) * noise
  return jnp.clip(mixed, -1.0, 1.0)


def check_audible(
  target: np.ndarray, noise: np.ndarray, *, names: Sequence[str] = ()
) -> None:
  """Refuses, on the host, a signal-to-noise ratio of silence.

  Args:
    target: `[..., S]` machine sounds.
    noise: `[..., S]` noises.
    names: what to call the machine sounds in the message, such as files.

  Raises:
    InputError: if a machine sound or a noise is all zeros or not finite.
  """
  for what, wave in (("target", target), ("noise", noise)):
    wave = np.asarray(wave)
    rows = wave.reshape(-1, wave.shape[-1])
    if not np.isfinite(rows).all():
      raise errors.InputError(f"{what} has samples that are not finite")
    silent = np.flatnonzero(~rows.any(axis=-1))
    if silent.size:
      row = int(silent[0])
      name = names[row] if what == "target" and names else f"row {row}"
      raise errors.InputError(
        f"the SNR of silence is undefined: {what} {name} is all zeros "
        f"({silent.size} of {len(rows)} are)"
      )
