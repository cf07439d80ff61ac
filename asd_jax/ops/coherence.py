"""How alike two channels are, bin by bin, and the gains made of it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.ops import signal
from asd_jax.typing import Array

# Posterior and prior signal-to-noise ratios stay inside.
SNR_RANGE = (1e-3, 1e4)
INITIAL = ("first", "zero", "mean")


def recursive_mean(
  values: Array, *, smoothing: float = 0.9, initial: str = "first"
) -> Array:
  """Exponential moving average over frames.

  Args:
    values: `[T, ...]` values v.
    smoothing: a of `S(t) = a S(t - 1) + (1 - a) v(t)`.
    initial: `S(-1)`: the `"first"` value, `"zero"`, or the `"mean"` of the
      first `1 / (1 - a)` frames.

  Returns:
    `[T, ...]` averages S.

  Raises:
    InputError: for another initial value.
  """
  if initial not in INITIAL:
    raise errors.InputError(f"initial {initial!r}, expected one of {INITIAL}.")
  if initial == "first":
    start = values[0]
  elif initial == "zero":
    start = jnp.zeros_like(values[0])
  else:
    # About as many frames as the average remembers.
    start = jnp.mean(values[: max(round(1.0 / (1.0 - smoothing)), 1)], axis=0)

  def step(mean: Array, value: Array) -> tuple[Array, Array]:
    mean = smoothing * mean + (1.0 - smoothing) * value
    return mean, mean

  return jax.lax.scan(step, start, values)[1]


def smoothed_spectra(
  spectra: Array, *, smoothing: float = 0.9, initial: str = "first"
) -> tuple[Array, Array, Array]:
  """Moving averages of both powers and of the cross spectrum.

  Args:
    spectra: `[2, T, F]` complex spectra of near and far.
    smoothing: see `recursive_mean`.
    initial: see `recursive_mean`.

  Returns:
    `[T, F]` near power, `[T, F]` far power and `[T, F]` complex cross spectrum
    near times conjugate far.
  """
  near, far = spectra
  cross = near * jnp.conj(far)
  # Real and imaginary parts apart: one scan of real numbers serves all.
  parts = [signal.power(near), signal.power(far), cross.real, cross.imag]
  mean = recursive_mean(
    jnp.stack(parts, axis=1), smoothing=smoothing, initial=initial
  )
  return mean[:, 0], mean[:, 1], jax.lax.complex(mean[:, 2], mean[:, 3])


def squared_coherence(
  near_power: Array, far_power: Array, cross: Array, *, eps: float = 1e-24
) -> Array:
  """Magnitude-squared coherence of averaged spectra, 0 to 1.

  Args:
    near_power: `[...]` averaged near power.
    far_power: `[...]` averaged far power.
    cross: `[...]` averaged complex cross spectrum.
    eps: added to the product of the powers.

  Returns:
    `[...]` coherence. Divided by the root, so that the gradient stays finite
    where both channels are silent.
  """
  root = jnp.sqrt(near_power * far_power + eps)
  parts = jnp.square(cross.real / root) + jnp.square(cross.imag / root)
  # Rounding may lift full coherence above one.
  return jnp.clip(parts, 0.0, 1.0)


def coherence_mask(
  spectra: Array,
  *,
  smoothing: float = 0.9,
  slope: float = 5.0,
  weight: float = 0.7,
  floor: float = 0.2,
  eps: float = 1e-10,
  initial: str = "first",
) -> tuple[Array, Array]:
  """Keeps what is louder near than far and not the same in both.

  Args:
    spectra: `[2, T, F]` complex spectra of near and far.
    smoothing: of the moving averages.
    slope: of the sigmoid of the log power ratio.
    weight: how much full coherence takes away, 0 to 1.
    floor: least mask.
    eps: added to powers and to their product.
    initial: first value of the moving averages, see `recursive_mean`.

  Returns:
    `[T, F]` amplitude mask and `[T, F]` coherence.

  Source: [KonicaMinolta26]; the first value and eps are our choice.
  """
  near, far, cross = smoothed_spectra(
    spectra, smoothing=smoothing, initial=initial
  )
  gamma = squared_coherence(near, far, cross, eps=eps)
  ratio = jnp.log(near + eps) - jnp.log(far + eps)
  # Louder near than far is kept; what both hear alike is noise.
  mask = jax.nn.sigmoid(slope * ratio) * (1.0 - weight * gamma)
  return jnp.maximum(mask, floor), gamma


def coherence_gain(
  spectra: Array,
  *,
  smoothing: float = 0.9,
  floor: float = 0.1,
  eps: float = 1e-12,
) -> tuple[Array, Array]:
  """Gain that falls with the coherence of the channels.

  Args:
    spectra: `[2, T, F]` complex spectra of near and far.
    smoothing: of the moving averages.
    floor: least gain.
    eps: its square is added to the product of the powers.

  Returns:
    `[T, F]` gain and `[T, F]` magnitude-squared coherence.

  Source: [KATECH26] eq. 4; the averages are our choice.
  """
  averages = smoothed_spectra(spectra, smoothing=smoothing)
  msc = squared_coherence(*averages, eps=eps**2)
  return jnp.clip(1.0 - msc, floor, 1.0), msc


def adaptive_factor(
  near: Array,
  noise: Array,
  *,
  offset: float = 3.0,
  slope: float = 0.1,
  low: float = 1.0,
  high: float = 4.0,
  eps: float = 1e-12,
) -> Array:
  """Oversubtraction that falls with the ratio of near to noise power.

  Args:
    near: `[...]` near power.
    noise: `[...]` noise power expected in the near channel.
    offset: factor at 0 dB.
    slope: fall of the factor in a decibel.
    low: least factor.
    high: largest factor.
    eps: added to both powers.

  Returns:
    `[...]` factors.

  Source: [KATECH26].
  """
  ratio = jnp.log10(near + eps) - jnp.log10(noise + eps)
  return jnp.clip(offset - slope * 10.0 * ratio, low, high)


def exponential_integral(x: Array) -> Array:
  """Exponential integral E1 of positive numbers, relative error 2e-7.

  Rational fits of Abramowitz and Stegun, 5.1.53 and 5.1.56;
  `jax.scipy.special.exp1` does not end on small float32 arrays.

  Args:
    x: `[...]` positive numbers.

  Returns:
    `[...]` E1.
  """
  # Each fit sees its own range only, so that neither side of the choice is
  # infinite, nor its gradient.
  small = jnp.minimum(x, 1.0)
  head = (0.00107857, -0.00976004, 0.05519968, -0.24991055, 0.99999193)
  series = jnp.polyval(jnp.array([*head, -0.57721566], x.dtype), small)
  large = jnp.maximum(x, 1.0)
  above = (1.0, 8.5733287401, 18.0590169730, 8.6347608925, 0.2677737343)
  below = (1.0, 9.5733223454, 25.6329561486, 21.0996530827, 3.9584969228)
  ratio = jnp.polyval(jnp.array(above, x.dtype), large) / jnp.polyval(
    jnp.array(below, x.dtype), large
  )
  tail = jnp.exp(-large) / large * ratio
  return jnp.where(x <= 1.0, series - jnp.log(small), tail)


def posterior_snr(near: Array, noise: Array, *, eps: float = 1e-12) -> Array:
  """Near power over expected noise power, inside `SNR_RANGE`.

  Args:
    near: `[...]` near power.
    noise: `[...]` noise power expected in the near channel.
    eps: added to the noise.

  Returns:
    `[...]` ratios. Limited before the division, so that the gradient stays
    finite where there is no noise.
  """
  noise += eps
  near = jnp.clip(near, SNR_RANGE[0] * noise, SNR_RANGE[1] * noise)
  return near / noise


def wiener_gain(prior: Array, posterior: Array) -> Array:
  """Wiener's gain.

  Args:
    prior: `[...]` prior signal-to-noise ratio.
    posterior: `[...]` posterior ratio, not needed.

  Returns:
    `[...]` amplitude gain.
  """
  # The same signature as the other gain, which needs both.
  del posterior
  return prior / (1.0 + prior)


def log_amplitude_gain(prior: Array, posterior: Array) -> Array:
  """Gain of least mean square error in the logarithm of the amplitude.

  Args:
    prior: `[...]` prior signal-to-noise ratio.
    posterior: `[...]` posterior ratio.

  Returns:
    `[...]` amplitude gain, at most 1.
  """
  share = prior / (1.0 + prior)
  half = 0.5 * exponential_integral(jnp.maximum(share * posterior, 1e-8))
  return jnp.minimum(share * jnp.exp(half), 1.0)


def decision_directed(
  posterior: Array,
  gain: Callable[[Array, Array], Array],
  *,
  memory: float = 0.98,
  lowest_db: float = -25.0,
) -> Array:
  """Gains whose prior ratio leans on the frame before.

  Args:
    posterior: `[T, F]` posterior signal-to-noise ratios.
    gain: `(prior, posterior) -> gain`.
    memory: weight of the last frame's estimate.
    lowest_db: least prior ratio, dB.

  Returns:
    `[T, F]` amplitude gains before any floor.
  """
  lowest = 10.0 ** (lowest_db / 10.0)

  def step(last: Array, post: Array) -> tuple[Array, Array]:
    # The last frame is trusted far more than this one, or musical noise rings.
    prior = memory * last + (1.0 - memory) * jnp.maximum(post - 1.0, 0.0)
    out = gain(jnp.clip(prior, lowest, SNR_RANGE[1]), post)
    return jnp.square(out) * post, out

  return jax.lax.scan(step, jnp.ones_like(posterior[0]), posterior)[1]


def amplitude_gain(denoised: Array, near: Array) -> Array:
  """Root of a power ratio, with a finite gradient everywhere.

  Args:
    denoised: `[...]` denoised power.
    near: `[...]` near power before.

  Returns:
    `[...]` gain; 1 where the near power is below 1e-18, 0 where less than
    1e-12 of it is left.
  """
  # Silence has no gain; one leaves it as it is.
  loud = near > 1e-18
  ratio = jnp.where(loud, denoised / jnp.where(loud, near, 1.0), 1.0)
  left = ratio > 1e-12
  return jnp.where(left, jnp.sqrt(jnp.where(left, ratio, 1.0)), 0.0)
