"""The far channel as noise reference of the near one."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from asd_jax import errors
from asd_jax.frontends.base import Framing, Frontend
from asd_jax.ops import coherence, signal
from asd_jax.typing import Array

Tree = Any


def measure_floors(spectra: Array, *, percentile: float = 20.0) -> Tree:
  """Noise floors of one training clip, to be added over clips.

  Args:
    spectra: `[2, T, F]` complex spectra of near and far.
    percentile: percent of the frames that lie below the floor.

  Returns:
    `near` and `far`, `[F]` percentiles over time of the power, and `count` 1.

  Source: [KATECH26]; interpolating linearly is our choice.
  """
  power = signal.power(spectra)
  # The quietest frames stand for noise alone, as no clip says when its machine
  # is at rest.
  floors = signal.percentile_over_time(power, percentile)  # [2, F]
  # A clip counts once, whatever its length.
  count = jnp.ones((), floors.dtype)
  return {"near": floors[0], "far": floors[1], "count": count}


def fit_transfer(sums: Tree, *, eps: float = 1e-12) -> dict[str, Array]:
  """Noise transfer from far to near: the ratio of the mean floors.

  Args:
    sums: added results of `measure_floors`.
    eps: added to both means.

  Returns:
    `transfer`, `[F]` power ratio G.

  Source: [KATECH26] eq. 2.
  """
  near, far = sums["near"] / sums["count"], sums["far"] / sums["count"]
  # The ratio of means. In a mean of ratios, the one clip whose far floor is
  # near zero would decide.
  return {"transfer": (near + eps) / (far + eps)}


def _with_transfer(
  rule: Callable[[Array, Array, Array], Array], percentile: float, eps: float
) -> Frontend:
  """Denoiser whose `rule` takes near power, noise power and the spectra."""

  def power(state: Tree, spectra: Array) -> Array:
    near, far = signal.power(spectra)
    return rule(near, state["transfer"][None] * far, spectra)

  return Frontend(
    lambda spectra: measure_floors(spectra, percentile=percentile),
    lambda sums: fit_transfer(sums, eps=eps),
    power,
  )


def ref_sub(
  *,
  oversubtraction: float = 1.5,
  floor: float = 0.1,
  percentile: float = 20.0,
  eps: float = 1e-12,
) -> Frontend:
  """RefSub: subtracts the transferred far power.

  Args:
    oversubtraction: factor of the noise power.
    floor: least share of the near power that stays.
    percentile: of the noise floors.
    eps: of the noise transfer.

  Returns:
    The denoiser; its state is `transfer`, `[F]`.

  Source: [KATECH26] eq. 3.
  """

  def rule(near: Array, noise: Array, _: Array) -> Array:
    # A share always stays: bins at zero would be the deepest of the
    # spectrogram, in random places.
    return jnp.maximum(near - oversubtraction * noise, floor * near)

  return _with_transfer(rule, percentile, eps)


def ada_sub(
  *,
  offset: float = 3.0,
  slope: float = 0.1,
  low: float = 1.0,
  high: float = 4.0,
  floor: float = 0.1,
  percentile: float = 20.0,
  eps: float = 1e-12,
) -> Frontend:
  """AdaSub: subtracts more where the near channel is mostly noise.

  Args:
    offset: factor of the noise power at 0 dB.
    slope: fall of the factor in a decibel.
    low: least factor.
    high: largest factor.
    floor: least share of the near power that stays.
    percentile: of the noise floors.
    eps: of the noise transfer and the ratio.

  Returns:
    The denoiser; its state is `transfer`, `[F]`.

  Source: [KATECH26].
  """

  def rule(near: Array, noise: Array, _: Array) -> Array:
    factor = coherence.adaptive_factor(
      near, noise, offset=offset, slope=slope, low=low, high=high, eps=eps
    )
    return jnp.maximum(near - factor * noise, floor * near)

  return _with_transfer(rule, percentile, eps)


def coh_gate(
  *,
  smoothing: float = 0.9,
  floor: float = 0.1,
  gate_domain: str = "amplitude",
  eps: float = 1e-12,
) -> Frontend:
  """CohGate: attenuates what both channels share; nothing is fitted.

  Args:
    smoothing: of the moving averages.
    floor: least gain.
    gate_domain: what the gain multiplies, `"amplitude"` or `"power"`.
    eps: its square is added to the product of the powers.

  Returns:
    The denoiser; its state is `{}`.

  Raises:
    InputError: for another domain.

  Source: [KATECH26] eq. 4; the domain is our choice.
  """
  if gate_domain not in {"amplitude", "power"}:
    raise errors.InputError(
      f"gate_domain {gate_domain!r}, expected amplitude or power."
    )

  def power(_: Tree, spectra: Array) -> Array:
    gain, _ = coherence.coherence_gain(
      spectra, smoothing=smoothing, floor=floor, eps=eps
    )
    # The report does not say which it is; the power gain is milder.
    gain = jnp.square(gain) if gate_domain == "amplitude" else gain
    return gain * signal.power(spectra[0])

  return Frontend(None, None, power)


def coh_sub(
  *,
  oversubtraction: float = 1.5,
  smoothing: float = 0.9,
  floor: float = 0.1,
  percentile: float = 20.0,
  eps: float = 1e-12,
) -> Frontend:
  """CohSub: RefSub times the gain of CohGate.

  Args:
    oversubtraction: factor of the noise power.
    smoothing: of the moving averages.
    floor: least gain, and least share of the near power that stays.
    percentile: of the noise floors.
    eps: of the noise transfer and the coherence.

  Returns:
    The denoiser; its state is `transfer`, `[F]`.

  Source: [KATECH26] names it only; this form is our choice.
  """

  def rule(near: Array, noise: Array, spectra: Array) -> Array:
    gain, _ = coherence.coherence_gain(
      spectra, smoothing=smoothing, floor=floor, eps=eps
    )
    # Negative where the noise is overestimated; the floor below takes care of
    # it.
    cut = gain * (near - oversubtraction * noise)
    return jnp.maximum(cut, floor * near)

  return _with_transfer(rule, percentile, eps)


def decision_directed(
  gain: Callable[[Array, Array], Array],
  /,
  *,
  memory: float = 0.98,
  lowest_db: float = -25.0,
  floor: float = 0.1,
  percentile: float = 20.0,
  eps: float = 1e-12,
) -> Frontend:
  """A spectral gain with a decision-directed prior ratio.

  Args:
    gain: `(prior, posterior) -> amplitude gain`, see `wiener` and `mmse_lsa`.
    memory: weight of the last frame in the prior ratio.
    lowest_db: least prior ratio, dB.
    floor: least power gain.
    percentile: of the noise floors.
    eps: of the noise transfer and the posterior ratio.

  Returns:
    The denoiser; its state is `transfer`, `[F]`.

  Source: [KATECH26] names both only; this form is our choice.
  """

  def rule(near: Array, noise: Array, _: Array) -> Array:
    post = coherence.posterior_snr(near, noise, eps=eps)
    out = coherence.decision_directed(
      post, gain, memory=memory, lowest_db=lowest_db
    )
    # The floor comes after the recursion, which goes on with the gains before
    # it.
    return jnp.maximum(jnp.square(out), floor) * near

  return _with_transfer(rule, percentile, eps)


wiener = functools.partial(decision_directed, coherence.wiener_gain)
# The log-amplitude estimator.
mmse_lsa = functools.partial(decision_directed, coherence.log_amplitude_gain)


def coherence_mask(
  *,
  smoothing: float = 0.9,
  slope: float = 5.0,
  weight: float = 0.7,
  floor: float = 0.2,
  eps: float = 1e-10,
  initial: str = "first",
) -> Frontend:
  """Coherence-weighted power-ratio mask; nothing is fitted.

  Args:
    smoothing: of the moving averages.
    slope: of the sigmoid of the log power ratio.
    weight: how much full coherence takes away.
    floor: least amplitude mask.
    eps: added to powers and to their product.
    initial: first value of the averages, `"first"`, `"zero"` or `"mean"`.

  Returns:
    The denoiser; its state is `{}`, and its spectra are 25 ms long each 10 ms.

  Source: [KonicaMinolta26]; the reflected edges are our choice.
  """

  def power(_: Tree, spectra: Array) -> Array:
    mask, _ = coherence.coherence_mask(
      spectra,
      smoothing=smoothing,
      slope=slope,
      weight=weight,
      floor=floor,
      eps=eps,
      initial=initial,
    )
    # The mask is of the amplitude: its floor of 0.2 is 14 dB down.
    return jnp.square(mask) * signal.power(spectra[0])

  return Frontend(None, None, power, framing=Framing(400, 160, "reflect"))


def spectral(
  *,
  denoiser: Frontend,
  fft_samples: int | None = None,
  hop_samples: int | None = None,
  pad_mode: str | None = None,
) -> Frontend:
  """A denoiser whose gains act on the near channel's spectra.

  Args:
    denoiser: what gives the denoised power.
    fft_samples: window and transform length, samples; that of the denoiser's
      `framing` if None, and so are the others.
    hop_samples: hop, samples.
    pad_mode: edges of the transform, `"constant"` (zeros) or `"reflect"`.

  Returns:
    The filter, `[C, S] -> [1, S]`: near channel only, same length; channels 0
    (near) and 1 (far) are used.
  """
  published = denoiser.framing
  framing = Framing(
    published.fft_samples if fft_samples is None else fft_samples,
    published.hop_samples if hop_samples is None else hop_samples,
    published.pad_mode if pad_mode is None else pad_mode,
  )

  def spectra_of(wave: Array) -> Array:
    return signal.stft(
      wave[:2],
      fft_samples=framing.fft_samples,
      hop_samples=framing.hop_samples,
      pad_mode=framing.pad_mode,
    )

  def apply(state: Tree, wave: Array) -> Array:
    spectra = spectra_of(wave)  # [2, T, F]
    near = signal.power(spectra[0])
    # A denoiser says how much power stays; the phase is that of the near
    # channel.
    gain = coherence.amplitude_gain(denoiser.apply(state, spectra), near)
    return signal.istft(
      gain[None] * spectra[:1],  # [1, T, F]
      num_samples=wave.shape[-1],
      hop_samples=framing.hop_samples,
    )

  measure = denoiser.measure and (lambda x: denoiser.measure(spectra_of(x)))
  return Frontend(measure, denoiser.fit, apply, num_channels=2)


def identity() -> Frontend:
  """Leaves the waveform and all its channels as they are."""
  return Frontend(
    None,
    None,
    lambda state, wave: wave,
    apply_part=lambda state, wave, num: wave,
  )


DENOISERS = {
  "ref_sub": ref_sub,
  "ada_sub": ada_sub,
  "coh_gate": coh_gate,
  "coh_sub": coh_sub,
  "wiener": wiener,
  "mmse_lsa": mmse_lsa,
  "coherence_mask": coherence_mask,
}

WAVE_FILTERS = {"identity": identity, "spectral": spectral}
