"""Front ends against stored numbers; every size comes from the file."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.frontends import denoise, log_mel
from asd_jax.ops import coherence, filterbank, signal

pytestmark = pytest.mark.golden
RATE = 16_000
SHORT = 4003  # samples of the clip called short
POWERS = ("ref_sub", "ada_sub", "coh_gate", "coh_sub", "wiener", "lsa")


@pytest.fixture(scope="module")
def data(golden):
  return golden("frontends")


@pytest.fixture(scope="module")
def config(data):
  return json.loads(str(data["config_json"]))


@pytest.fixture(scope="module")
def wave(data):
  return jnp.asarray(data["waveform"])


def compare(data, name, found, *, absolute=None, relative=None):
  """Compares `[..., T, F]` with the file's `[..., F, T]`."""
  want = data[name]
  found = np.asarray(found)
  assert found.shape == want.shape, name
  limit = absolute
  if relative is not None:
    limit = relative * (np.abs(want) + 1e-3 * np.abs(want).max())
  excess = np.abs(found - want) - limit
  assert (excess <= 0).all(), f"{name}: over its tolerance by {excess.max()}"


def turn(x):
  return np.swapaxes(np.asarray(x), -1, -2)


def settings_of(name):
  """Sizes and edges from a name: stft_FFT[_WINDOW]_HOP_EDGES[_short]."""
  *sizes, edges = name.removesuffix("_short").split("_")[1:]
  fft, *window, hop = map(int, sizes)
  return dict(
    fft_samples=fft,
    hop_samples=hop,
    window_samples=window[0] if window else None,
    pad_mode={"zeros": "constant"}.get(edges, edges),
  )


def filters_of(name):
  """Filters from a name: mel_KIND_FFT_NUM[_LOW]."""
  kind, fft, num, *low = name.split("_")[1:]
  edges = dict(low_hz=float(low[0])) if low else {}
  sizes = dict(fft_samples=int(fft), sample_rate=RATE, **edges)
  if kind == "kaldi":
    return filterbank.kaldi_filters(int(num), **sizes)
  return filterbank.mel_filters(kind, int(num), **sizes)


def spectra_of(part, wave, *, pad_mode):
  return signal.stft(
    wave,
    fft_samples=part["n_fft"],
    hop_samples=part["hop"],
    pad_mode=pad_mode,
  )


def mask_settings(part):
  return dict(
    smoothing=part["alpha"],
    slope=part["beta"],
    weight=part["w"],
    floor=part["floor"],
    eps=part["eps"],
    initial=part["init"],
  )


def denoisers(part):
  """The file's settings in our words."""
  low = dict(floor=part["beta"], eps=part["eps"])
  fitted = dict(**low, percentile=part["percentile"])
  directed = dict(**fitted, memory=part["a_dd"], lowest_db=part["xi_min_db"])
  smooth = dict(smoothing=part["smoothing"])
  over = dict(oversubtraction=part["alpha_s"])
  factor = dict(offset=part["a0"], low=part["a_min"], high=part["a_max"])
  gate = {k: part[k] for k in ("gate_domain",) if k in part}
  return {
    "ref_sub": denoise.ref_sub(**over, **fitted),
    "ada_sub": denoise.ada_sub(**factor, **fitted),
    "coh_gate": denoise.coh_gate(**smooth, **gate, **low),
    "coh_sub": denoise.coh_sub(**over, **smooth, **fitted),
    "wiener": denoise.wiener(**directed),
    "lsa": denoise.mmse_lsa(**directed),
  }


@pytest.fixture(scope="module")
def floors(data, config):
  """Noise floors of each training clip, in order."""
  part = config["denoise"]
  names = [n for n in data.files if n.startswith("train_waveform_")]
  names.sort(key=lambda n: int(n.rsplit("_", 1)[1]))
  assert len(names) == len(data["train_floor_near"])
  measure = jax.jit(denoisers(part)["ref_sub"].measure)
  return [
    measure(spectra_of(part, jnp.asarray(data[n]), pad_mode="constant"))
    for n in names
  ]


@pytest.fixture(scope="module")
def state(config, floors):
  sums = jax.tree.map(lambda *a: sum(a), *floors)
  return denoisers(config["denoise"])["ref_sub"].fit(sums)


@pytest.fixture(scope="module")
def spectra(config, wave):
  return spectra_of(config["denoise"], wave, pad_mode="constant")


def test_spectra(data, wave):
  names = [n for n in data.files if n.startswith("stft_")]
  assert len(names) >= 3
  for name in names:
    if not name.endswith("_short"):
      found = signal.stft(wave, **settings_of(name))
      compare(data, name, turn(found), relative=2e-4)


def test_spectra_of_a_short_clip_with_a_short_window(data, wave):
  for name in [n for n in data.files if n.endswith("_short")]:
    settings = settings_of(name)
    found = signal.stft(wave[0, :SHORT], **settings)
    compare(data, name, turn(found), relative=2e-4)


@pytest.mark.parametrize("kind", ["slaney", "htk"])
def test_mel_filters(data, kind):
  names = [n for n in data.files if n.startswith(f"mel_{kind}_")]
  assert names
  for name in names:
    weights = filters_of(name)
    compare(data, name, turn(weights), absolute=1e-5)


def test_kaldi_filters_up_to_the_rounding_of_a_logarithm(data):
  for name in [n for n in data.files if n.startswith("mel_kaldi_")]:
    # One unit in the last place of a mel is 1.1e-5 of a weight; straight in Hz
    # instead of in mel would be off by 9e-3.
    compare(data, name, turn(filters_of(name)), absolute=1.2e-5)
    empty = ~data[name].any(axis=1)
    assert (filters_of(name).any(axis=0) == ~empty).all()


def test_log_mel_and_its_stacked_frames(data, wave):
  frontend = log_mel.log_mel(num_mels=len(data["logmel_near"]))
  near, far = frontend.apply({}, wave)
  compare(data, "logmel_near", turn(near), absolute=1e-3)
  compare(data, "logmel_far", turn(far), absolute=1e-3)
  name = "stack5_near"
  num, width = data[name].shape
  vectors = signal.context_windows(near, num_context=width // near.shape[1])
  compare(data, name, vectors[:num], absolute=1e-3)


def test_torch_mel_and_its_decibels(data, wave):
  name, fft = "torch_mel_64", 512
  num = len(data[name])
  spectrum = signal.stft(
    wave[0], fft_samples=fft, hop_samples=160, pad_mode="reflect"
  )
  bank = filterbank.mel_filters("htk", num, fft_samples=fft, sample_rate=RATE)
  mel = jnp.matmul(
    signal.power(spectrum), jnp.float32(bank), precision="highest"
  )
  compare(data, name, turn(mel), relative=2e-4)
  level = filterbank.decibel_in_range(mel, top_db=120.0)
  compare(data, name + "_db120", turn(level), absolute=1e-3)


def test_kaldi_bands(data, wave):
  near = wave[0]
  fbank = filterbank.kaldi_fbank
  scaled = near * filterbank.INT16_SCALE
  compare(data, "fbank_beats", fbank(scaled), absolute=2e-3)
  found = fbank(near - near.mean(), window="hanning")
  compare(data, "fbank_eat", found, absolute=2e-3)
  name = "fbank_beats_normalised"
  compare(data, name, filterbank.beats_fbank(near), absolute=3e-4)
  name = "fbank_eat_normalised"
  compare(data, name, filterbank.eat_fbank(near), absolute=3e-4)
  name = "fbank_povey_23"
  num = data[name].shape[1]
  compare(data, name, fbank(near, num_mels=num), absolute=1e-3)


def test_coherence_mask_and_its_parts(data, config, wave):
  part = config["mask"]
  spectra = spectra_of(part, wave, pad_mode="reflect")
  settings = mask_settings(part)
  averages = coherence.smoothed_spectra(
    spectra, smoothing=part["alpha"], initial=part["init"]
  )
  for name, found in zip(("p0", "p1", "cross"), averages, strict=True):
    compare(data, "mask_" + name, turn(found), relative=1e-4)
  mask, gamma = coherence.coherence_mask(spectra, **settings)
  compare(data, "mask_gamma", turn(gamma), absolute=2e-4)
  compare(data, "mask", turn(mask), absolute=2e-4)
  given = [n for n in data.files if n.startswith("mask_init_")]
  for name in given:
    initial = dict(initial=name.removeprefix("mask_init_"))
    mask, _ = coherence.coherence_mask(spectra, **(settings | initial))
    compare(data, name, turn(mask), absolute=2e-4)


def test_masked_waveform(data, config, wave):
  part = config["mask"]
  denoiser = denoise.coherence_mask(**mask_settings(part))
  clean = denoise.spectral(
    denoiser=denoiser,
    fft_samples=part["n_fft"],
    hop_samples=part["hop"],
    pad_mode="reflect",
  )
  found = clean.apply({}, wave)[0]
  compare(data, "masked_waveform", found, absolute=2e-6)


def test_noise_floors_and_transfer(data, floors, state):
  for channel in ("near", "far"):
    found = jnp.stack([f[channel] for f in floors])
    compare(data, f"train_floor_{channel}", found, relative=1e-4)
  compare(data, "noise_transfer", state["transfer"], relative=1e-4)


def test_factors_and_gains(data, config, spectra, state):
  part = config["denoise"]
  near, far = signal.power(spectra)
  noise = state["transfer"][None] * far
  factor = coherence.adaptive_factor(
    near,
    noise,
    offset=part["a0"],
    low=part["a_min"],
    high=part["a_max"],
    eps=part["eps"],
  )
  compare(data, "ada_factor", turn(factor), absolute=3e-4)
  gain, msc = coherence.coherence_gain(
    spectra, smoothing=part["smoothing"], floor=part["beta"], eps=part["eps"]
  )
  compare(data, "msc", turn(msc), absolute=3e-4)
  compare(data, "coh_gate_gain", turn(gain), absolute=3e-4)
  post = coherence.posterior_snr(near, noise, eps=part["eps"])
  compare(data, "posterior_snr", turn(post), relative=1e-3)
  gains = {
    "wiener": coherence.wiener_gain,
    "lsa": coherence.log_amplitude_gain,
  }
  for name, rule in gains.items():
    found = coherence.decision_directed(
      post, rule, memory=part["a_dd"], lowest_db=part["xi_min_db"]
    )
    compare(data, f"{name}_gain", turn(found), absolute=3e-4)


@pytest.mark.parametrize("name", POWERS)
def test_denoised_power_and_log_mel(data, config, wave, spectra, state, name):
  part = config["denoise"]
  denoiser = denoisers(part)[name]
  given = state if denoiser.measure else {}
  power = denoiser.apply(given, spectra)
  compare(data, f"{name}_power", turn(power), relative=2e-4)
  frontend = log_mel.log_mel(
    num_mels=len(data[f"logmel_{name}"]),
    fft_samples=part["n_fft"],
    hop_samples=part["hop"],
    denoiser=denoiser,
  )
  found = frontend.apply(given, wave)[0]
  compare(data, f"logmel_{name}", turn(found), absolute=5e-3)


def test_exponential_integral(data):
  found = coherence.exponential_integral(jnp.asarray(data["e1_x"]))
  np.testing.assert_allclose(found, data["e1"], rtol=2e-6, err_msg="e1")
