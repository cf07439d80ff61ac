"""Impulse responses of shoebox rooms by the image-source method.

`responses` gives the ten responses of a room: from the machine and four noise
sources to a near and a far microphone. Rooms are batched with `vmap`; the
lattice of image cells is an argument, so that one compiled function serves
every room.

References: [MERL26] Sec. 3.1 and 4.1; [Allen79]; [Antoni10] for the octave
windows.
"""

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.ops.geometry import SPEED_OF_SOUND, Room
from asd_jax.typing import Array, Key

SAMPLE_RATE = 16_000
HALF_TAPS = 40  # every image adds 81 taps; responses start this late
STEPS = 20  # phases a sample in the table of fractional delays
LENGTH = 6656  # samples, 0.416 s: covers an RT60 of 0.4 s
DISPLACEMENT = 0.08  # m
# Absorption of air at 125, 250, ..., 8000 Hz, per metre.
AIR = 1e-3 * np.array([0.1, 0.3, 0.6, 1.0, 1.9, 5.8, 20.3])
_PHASE_RANK = 7  # singular values of the table beyond are below 6e-7
_AIR_RANK = 4  # of the seven decays; the next singular value is 3e-5
_BLOCK = 128
_MIN_DISTANCE = 1e-3
_FFT = 16_384


def lattice(max_order: int) -> np.ndarray:
  """Lists the image cells up to an order, the first coordinate slowest.

  Pass it to the functions below as an argument of the jitted function: as a
  captured constant it would be folded for tens of seconds.

  Args:
    max_order: largest `|nx| + |ny| + |nz|`; rooms of lower order mask it.

  Returns:
    `[3, I]` int32.
  """
  side = np.arange(-max_order, max_order + 1)
  cells = np.stack(np.meshgrid(side, side, side, indexing="ij")).reshape(3, -1)
  return cells[:, np.abs(cells).sum(0) <= max_order].astype(np.int32)


def displace(
  key: Key, cells: Array, *, num_sources: int = 5, most: float = DISPLACEMENT
) -> Array:
  """Draws a displacement of every image (randomised image method).

  Args:
    key: random key.
    cells: `[3, I]` image cells.
    num_sources: sources, each with its own draws.
    most: largest displacement a coordinate, metres.

  Returns:
    `[num_sources, 3, I]` metres, the same for all microphones.

  Source: [MERL26] public code.
  """
  shape = (num_sources, *cells.shape)
  return jax.random.uniform(key, shape, jnp.float32, -most, most)


def responses(
  room: Room,
  cells: Array,
  *,
  displacement: Array | None = None,
  length: int = LENGTH,
  air: bool = True,
  highpass: bool = True,
) -> Array:
  """Impulse responses from every source to both microphones.

  Args:
    room: one room.
    cells: `[3, I]` image cells of at least the room's order, `lattice`.
    displacement: `[5, 3, I]` metres, added to the images of each source.
    length: samples kept.
    air: whether air absorbs.
    highpass: whether the 10 Hz zero-phase high-pass is applied.

  Returns:
    `[2, 5, length]`: near and far; target, then the noise sources. All start
    `HALF_TAPS` samples late; amplitude `1 / distance`, without 4 pi.

  Source: [MERL26] Sec. 3.1; [Allen79].
  """
  sources = jnp.concatenate([room.target[None], room.noise])  # [5, 3]
  mics = jnp.stack([room.near, room.far])  # [2, 3]
  amplitude = _reflections(cells, room.absorption, room.max_order)
  images = jax.vmap(_images, (None, None, 0))(cells, room.dims, sources)
  if displacement is not None:
    images = images + displacement  # [5, 3, I]
  one = lambda image, mic: _scatter(image, amplitude, mic, length=length)
  grid = jax.vmap(jax.vmap(one, (0, None)), (None, 0))(images, mics)
  return _finish(_fractional_delay(grid), air=air, highpass=highpass)


def shoebox(
  dims: Array,
  source: Array,
  mic: Array,
  cells: Array,
  *,
  absorption: Array,
  max_order: Array,
  length: int = LENGTH,
  air: bool = True,
  highpass: bool = True,
) -> Array:
  """Impulse response from one source to one microphone.

  Args:
    dims: `[3]` length, width and height in metres.
    source: `[3]` position in metres.
    mic: `[3]` position in metres.
    cells: `[3, I]` image cells of at least `max_order`, `lattice`.
    absorption: `[]` energy absorption of every wall.
    max_order: `[]` number of reflections.
    length: samples kept.
    air: whether air absorbs.
    highpass: whether the 10 Hz zero-phase high-pass is applied.

  Returns:
    `[length]` response, as in `responses`.

  Source: [Allen79].
  """
  amplitude = _reflections(cells, absorption, max_order)
  images = _images(cells, dims, source)
  grid = _scatter(images, amplitude, mic, length=length)
  return _finish(_fractional_delay(grid), air=air, highpass=highpass)


def normalise(response: Array) -> Array:
  """Divides by the largest magnitude of the target-to-near response.

  Args:
    response: `[2, 5, L]` responses of a room.

  Returns:
    `[2, 5, L]`.
  """
  return response / jnp.max(jnp.abs(response[0, 0]))


def _reflections(cells: Array, absorption: Array, max_order: Array) -> Array:
  """`[3, I]` cells to amplitudes `[I]`; 0 beyond the order."""
  order = jnp.sum(jnp.abs(cells), axis=0)
  keep = jnp.sqrt(jnp.maximum(1.0 - absorption, 0.0))
  amplitude = jnp.power(keep, order.astype(jnp.float32))  # 0 ** 0 is 1
  return jnp.where(order <= max_order, amplitude, 0.0)


def _images(cells: Array, dims: Array, source: Array) -> Array:
  """Positions `[3, I]` of the images of `source` `[3]`."""
  odd = (cells & 1) == 1  # -1 is odd, too
  inside = jnp.where(odd, (dims - source)[:, None], source[:, None])
  return cells * dims[:, None] + inside


def _scatter(
  images: Array, amplitude: Array, mic: Array, *, length: int
) -> Array:
  """Adds the images `[3, I]` to a grid of samples and phases, `[L, 21]`.

  A delay between two phases of the table is shared by both, in proportion:
  linear interpolation of the table, with one update of two numbers an image.
  """
  square = jnp.sum(jnp.square(images - mic[:, None]), axis=0)
  distance = jnp.maximum(jnp.sqrt(square), _MIN_DISTANCE)  # [I]
  delay = distance * (SAMPLE_RATE / SPEED_OF_SOUND)
  whole = jnp.floor(delay)
  phase = STEPS * (1.0 - (delay - whole))
  low = jnp.minimum(jnp.floor(phase), STEPS - 1.0)
  high_part = amplitude / distance * (phase - low)
  low_part = amplitude / distance - high_part
  width = STEPS + 1
  start = whole.astype(jnp.int32) * width + low.astype(jnp.int32)
  grid = jax.lax.scatter_add(
    jnp.zeros(length * width, images.dtype),
    start[:, None],
    jnp.stack([low_part, high_part], -1),  # [I, 2]
    jax.lax.ScatterDimensionNumbers(
      update_window_dims=(1,),
      inserted_window_dims=(),
      scatter_dims_to_operand_dims=(0,),
    ),
    mode=jax.lax.GatherScatterMode.FILL_OR_DROP,  # late images
  )
  return grid.reshape(length, width)


def _fractional_delay(grid: Array) -> Array:
  """Convolves every phase `[..., L, 21]` with its taps, sums: `[..., L]`.

  The table of taps has rank seven to float32 rounding, so the phases are
  first reduced to seven signals. Their convolution is a matrix product of
  overlapping blocks with a banded Toeplitz matrix.
  """
  taps = 2 * HALF_TAPS + 1
  j, q = np.arange(taps), np.arange(STEPS + 1)[:, None]
  window = 0.5 - 0.5 * np.cos(2 * np.pi * j / (taps - 1))
  table = window * np.sinc(j - HALF_TAPS - 1 + q / STEPS)  # [21, 81]
  left, size, right = np.linalg.svd(table, full_matrices=False)
  left = (left * size)[:, :_PHASE_RANK]
  lag = np.arange(_BLOCK) + _BLOCK - np.arange(2 * _BLOCK)[:, None]
  band = right[:_PHASE_RANK, np.clip(lag, 0, taps - 1)]  # [7, 2 B, B]
  band = np.where((lag >= 0) & (lag < taps), band, 0.0)
  band = band.transpose(1, 0, 2).reshape(-1, _BLOCK)  # [2 B * 7, B]

  high = jax.lax.Precision.HIGHEST
  x = jnp.matmul(grid, jnp.asarray(left, grid.dtype), precision=high)
  *lead, length, rank = x.shape
  num = -(-length // _BLOCK)
  x = jnp.pad(
    x, [(0, 0)] * len(lead) + [(_BLOCK, num * _BLOCK - length)] + [(0, 0)]
  )
  x = x.reshape(*lead, num + 1, _BLOCK, rank)
  x = jnp.concatenate([x[..., :-1, :, :], x[..., 1:, :, :]], axis=-2)
  x = x.reshape(*lead, num, 2 * _BLOCK * rank)
  x = jnp.matmul(x, jnp.asarray(band, grid.dtype), precision=high)
  return x.reshape(*lead, num * _BLOCK)[..., :length]


def octave_gains(frequency: np.ndarray) -> np.ndarray:
  """Zero-phase gains of seven octave bands; they sum to 1.

  Args:
    frequency: `[F]` Hz.

  Returns:
    `[7, F]` gains of the octaves about 125, 250, ..., 8000 Hz.

  Source: squares of the windows of [Antoni10].
  """
  centre = 125.0 * 2.0 ** np.arange(1, 7)[:, None]
  edge = centre / np.sqrt(2)
  half = 0.5 * (np.sqrt(2) - 1) * centre
  ramp = np.clip((frequency - edge + half) / (2 * half), 0.0, 1.0)
  rise = 0.5 * (1 - np.cos(np.pi * ramp))  # [6, F]
  rise = np.concatenate([np.ones_like(rise[:1]), rise, 0 * rise[:1]])
  return rise[:-1] * (1 - rise[1:])


def highpass_power(
  frequency: np.ndarray, *, cutoff_hz: float = 10.0
) -> np.ndarray:
  """Gain of a 2nd-order Butterworth high-pass run forward and backward.

  Args:
    frequency: `[F]` Hz, at most half the sample rate.
    cutoff_hz: cut-off in Hz.

  Returns:
    `[F]` squared magnitude of the digital (bilinear) filter.
  """
  warp = lambda hz: np.tan(np.pi * np.minimum(hz / SAMPLE_RATE, 0.499999))
  ratio = (warp(frequency) / warp(np.asarray(cutoff_hz))) ** 4
  return ratio / (1 + ratio)


def _finish(response: Array, *, air: bool, highpass: bool) -> Array:
  """Applies air absorption and high-pass to `[..., L]` in one FFT product.

  Octave b decays as `exp(-0.5 m_b d)` with the distance that sound travels in
  the time of the sample. The seven decays span four functions to rounding, so
  four transforms are enough.
  """
  if not (air or highpass):
    return response
  length = response.shape[-1]
  size = max(_FFT, 2 << (length - 1).bit_length())
  frequency = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
  gain = highpass_power(frequency) if highpass else np.ones_like(frequency)
  decay = np.ones((1, length))
  gain = gain[None]
  if air:
    time = np.maximum(np.arange(length) - HALF_TAPS, 0) / SAMPLE_RATE
    decays = np.exp(-0.5 * AIR[:, None] * SPEED_OF_SOUND * time)  # [7, L]
    left, scale, right = np.linalg.svd(decays, full_matrices=False)
    decay = right[:_AIR_RANK]
    mix = (left * scale)[:, :_AIR_RANK].T  # [4, 7]
    gain = mix @ octave_gains(frequency) * gain
  lead = (1,) * (response.ndim - 1)
  decay = jnp.asarray(decay, response.dtype).reshape(*lead, *decay.shape)
  gain = jnp.asarray(gain, response.dtype).reshape(*lead, *gain.shape)
  spectrum = jnp.fft.rfft(response[..., None, :] * decay, size)
  return jnp.fft.irfft(jnp.sum(spectrum * gain, -2), size)[..., :length]
