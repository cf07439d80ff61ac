"""Every front end, denoiser and wave filter obeys the same contract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.frontends import denoise, log_mel
from asd_jax.ops import filterbank, signal

SMALL = dict(fft_samples=128, hop_samples=50)
MASK = dict(fft_samples=120, hop_samples=48, pad_mode="reflect")
BANDS = dict(num_mels=8, fft_samples=128, hop_samples=64)

DENOISERS = {name: make() for name, make in denoise.DENOISERS.items()}
VARIANTS = DENOISERS | {
  "power_gate": denoise.coh_gate(gate_domain="power"),
  "no_floor": denoise.ref_sub(floor=0.0),
  "late_mask": denoise.coherence_mask(initial="mean"),
}
FRONTENDS = {
  "official": log_mel.log_mel(),
  "small": log_mel.log_mel(num_mels=8, **SMALL),
} | {
  name: log_mel.log_mel(**BANDS, denoiser=denoiser)
  for name, denoiser in DENOISERS.items()
}
FILTERS = {"identity": denoise.identity()} | {
  name: denoise.spectral(denoiser=denoiser, **MASK)
  for name, denoiser in VARIANTS.items()
  if name in {"no_floor", "late_mask"}
}
STAGES = {f"front_{k}": v for k, v in FRONTENDS.items()}
STAGES |= {f"wave_{k}": v for k, v in FILTERS.items()}
FITTED = [k for k, v in STAGES.items() if v.measure]
NUM = 1200
HARD = ("noise", "no_far", "same", "silence", "loud_far", "step")


def draw(*shape, seed=0):
  wave = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(0.1 * wave, jnp.float32)


def hard(name):
  """Two channels that ask for divisions by little."""
  near, far = np.array(draw(2, NUM))
  wave = {
    "noise": (near, far),
    "no_far": (near, 0 * far),
    "same": (near, near),
    "silence": (0 * near, 0 * far),
    "loud_far": (near, 1000.0 * far),
    "step": (near * (np.arange(NUM) > NUM // 2), far),
  }[name]
  return jnp.asarray(np.stack(wave), jnp.float32)


@functools.cache
def sums_of(name):
  """Statistics of six clips, of silence and of a silent far channel."""
  clips = [*draw(6, 2, NUM, seed=2), hard("silence"), hard("no_far")]
  return jax.jit(jax.vmap(STAGES[name].measure))(jnp.stack(clips))


def state_of(name, rows=(0, 1)):
  stage = STAGES[name]
  if stage.measure is None:
    assert stage.fit is None
    return {}
  rows = np.array(rows)
  return stage.fit(jax.tree.map(lambda x: jnp.sum(x[rows], 0), sums_of(name)))


@functools.cache
def results(name):
  """Outputs and gradients of all hard clips, as one compiled batch."""
  stage = STAGES[name]

  def total(state, wave):
    out = stage.apply(state, wave)
    return jnp.sum(jnp.sin(out)), out

  def both(state, wave):
    grad = jax.grad(total, argnums=(0, 1), has_aux=True)
    return grad(state, wave)

  clips = jnp.stack([hard(h) for h in HARD])
  grads, out = jax.jit(jax.vmap(both, (None, 0)))(state_of(name), clips)
  return out, grads


@pytest.mark.parametrize("name", FRONTENDS)
@pytest.mark.parametrize("num", [1535, 1536])
def test_shapes_of_a_front_end(name, num):
  frontend = FRONTENDS[name]
  state = state_of(f"front_{name}")
  for channels in (2, 3):
    wave = jax.ShapeDtypeStruct((channels, num), jnp.float32)
    out = jax.eval_shape(frontend.apply, state, wave)
    kept = 1 if frontend.num_channels == 2 else channels
    assert out.shape[:2] == (kept, frontend.num_frames(num))
    assert out.dtype == jnp.float32


@pytest.mark.parametrize("name", FRONTENDS)
@pytest.mark.parametrize("num_frames", [1, 5])
def test_min_samples_is_enough_for_the_frames(name, num_frames):
  frontend = FRONTENDS[name]
  least = frontend.min_samples(num_frames)
  assert frontend.num_frames(least) >= num_frames
  wave = jax.ShapeDtypeStruct((2, least), jnp.float32)
  jax.eval_shape(frontend.apply, state_of(f"front_{name}"), wave)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("num", [1023])
def test_a_filtered_clip_keeps_its_length(name, num):
  stage = FILTERS[name]
  wave = jax.ShapeDtypeStruct((2, num), jnp.float32)
  out = jax.eval_shape(stage.apply, state_of(f"wave_{name}"), wave)
  assert out.shape == (2 if name == "identity" else 1, num)


@pytest.mark.parametrize("name", STAGES)
def test_a_clip_alone_without_jit_equals_the_clip_in_a_compiled_batch(name):
  alone = STAGES[name].apply(state_of(name), hard(HARD[0]))
  batch, _ = results(name)
  np.testing.assert_allclose(batch[0], alone, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("name", STAGES)
def test_output_and_gradient_are_finite_on_hard_clips(name):
  out, grads = results(name)
  for i, case in enumerate(HARD):
    assert np.isfinite(out[i]).all(), case
    for leaf in jax.tree.leaves(grads):
      assert np.isfinite(leaf[i]).all(), case


@pytest.mark.parametrize("name", FITTED)
def test_statistics_merge_in_any_order(name):
  each = sums_of(name)
  total = lambda rows: jax.tree.map(lambda x: jnp.sum(x[rows], 0), each)
  halves = jax.tree.map(jnp.add, total(np.arange(3)), total(np.arange(3, 6)))
  whole = state_of(name, range(6))
  turned = state_of(name, [5, 2, 0, 4, 1, 3])
  for other in (STAGES[name].fit(halves), turned):
    jax.tree.map(
      functools.partial(np.testing.assert_allclose, rtol=1e-5), other, whole
    )


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("row", [6, 7])
def test_a_fit_on_silence_is_finite(name, row):
  state = state_of(name, [row])
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))


def test_transfer_is_the_ratio_of_means_over_clips_of_any_length():
  spectra = [signal.stft(draw(2, n, seed=n), **SMALL) for n in (900, 1200)]
  power = [np.abs(np.float64(abs(np.asarray(s)))) ** 2 for s in spectra]
  floors = np.mean([np.percentile(p, 30.0, axis=1) for p in power], axis=0)
  denoiser = denoise.ref_sub(percentile=30.0)
  sums = [denoiser.measure(s) for s in spectra]
  state = denoiser.fit(jax.tree.map(jnp.add, *sums))
  want = floors[0] / floors[1]
  np.testing.assert_allclose(state["transfer"], want, rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_ref_sub_without_subtraction_changes_nothing(seed):
  wave = draw(2, NUM, seed=seed)
  denoiser = denoise.ref_sub(oversubtraction=0.0)
  stage = denoise.spectral(denoiser=denoiser, fft_samples=128, hop_samples=64)
  state = stage.fit(stage.measure(wave))
  found = stage.apply(state, wave)
  np.testing.assert_allclose(found, wave[:1], atol=1e-6)
  frontend = log_mel.log_mel(**BANDS, denoiser=denoiser)
  plain = log_mel.log_mel(**BANDS).apply({}, wave)[:1]
  np.testing.assert_allclose(frontend.apply(state, wave), plain, atol=1e-4)


def test_a_denoiser_brings_the_spectra_that_it_was_published_with():
  seen = []
  spy = lambda _, spectra: seen.append(spectra.shape) or abs(spectra[0])
  mask = denoise.coherence_mask()._replace(apply=spy)
  for given in ({}, dict(fft_samples=512)):
    clean = denoise.spectral(denoiser=mask, **given)
    jax.eval_shape(clean.apply, {}, draw(2, NUM))
  assert seen == [(2, 8, 201), (2, 8, 257)]
  assert mask.framing == (400, 160, "reflect")
  with pytest.raises(ValueError, match="reflection of 200"):
    denoise.spectral(denoiser=mask).apply({}, draw(2, 150))
  assert DENOISERS["ada_sub"].framing == (1024, 512, "constant")


@pytest.mark.parametrize("name", VARIANTS)
def test_power_lies_between_zero_and_the_near_power(name):
  denoiser = VARIANTS[name]
  spectra = signal.stft(draw(2, NUM, seed=4), **SMALL)
  state = {"transfer": jnp.full(spectra.shape[-1], 0.5)} if denoiser.fit else {}
  power = denoiser.apply(state, spectra)
  near = signal.power(spectra[0])
  assert (power >= 0.0).all()
  assert (power <= near * (1.0 + 1e-5)).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_power_grows_with_the_square_of_a_common_gain(name):
  denoiser = VARIANTS[name]
  spectra = signal.stft(draw(2, NUM, seed=5), **SMALL)
  state = {"transfer": jnp.full(spectra.shape[-1], 0.5)} if denoiser.fit else {}
  found = denoiser.apply(state, 4.0 * spectra)
  want = 16.0 * denoiser.apply(state, spectra)
  atol = 1e-3 * float(jnp.max(want))
  np.testing.assert_allclose(found, want, rtol=1e-3, atol=atol)


def test_a_silent_far_channel_leaves_the_spectral_subtractions_alone():
  spectra = signal.stft(hard("no_far"), **SMALL)
  state = {"transfer": jnp.ones(spectra.shape[-1])}
  for name in ("ref_sub", "ada_sub", "coh_gate", "coh_sub"):
    found = DENOISERS[name].apply(state, spectra)
    np.testing.assert_allclose(found, signal.power(spectra[0]), rtol=1e-5)


def test_the_coherence_gate_shuts_on_identical_channels():
  spectra = signal.stft(hard("same"), **SMALL)
  near = signal.power(spectra[0])
  found = DENOISERS["coh_gate"].apply({}, spectra)
  np.testing.assert_allclose(found, 0.01 * near, rtol=1e-4)
  found = VARIANTS["power_gate"].apply({}, spectra)
  np.testing.assert_allclose(found, 0.1 * near, rtol=1e-4)


def test_silence_is_the_floor():
  out = FRONTENDS["official"].apply({}, jnp.zeros((1, 2048)))
  np.testing.assert_allclose(out, -156.5356, atol=1e-3)


def test_unknown_settings_raise():
  with pytest.raises(ValueError, match="amplitude or power"):
    denoise.coh_gate(gate_domain="level")
  mask = denoise.coherence_mask(initial="last")
  with pytest.raises(ValueError, match="'last', expected one of"):
    mask.apply({}, jnp.zeros((2, 3, 4), jnp.complex64))


@pytest.mark.parametrize(
  ("num", "fft", "rate"), [(128, 1024, 16000), (40, 512, 8000)]
)
def test_slaney_filters_equal_transformers(num, fft, rate):
  from transformers import audio_utils  # a second, of every process

  want = audio_utils.mel_filter_bank(
    fft // 2 + 1, num, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney"
  )
  got = filterbank.mel_filters("slaney", num, fft_samples=fft, sample_rate=rate)
  np.testing.assert_allclose(got, want, atol=1e-9)
