"""Domain-invariant features against stored numbers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.frontends import augment, dif
from asd_jax.ops import shift, waveform
from tests import quick

pytestmark = pytest.mark.golden
ROLLOFF = ("shape_2", "shape_6", "stereo_5")  # a threshold may flip by a bin


@pytest.fixture(scope="module")
def data(golden):
  return golden("frontends")


@pytest.fixture(scope="module")
def config(data):
  return json.loads(str(data["config_json"]))


@pytest.fixture(scope="module")
def candidates():
  return jax.jit(dif.candidates)


def train_clips(data):
  names = [n for n in data.files if n.startswith("train_waveform_")]
  names.sort(key=lambda n: int(n.rsplit("_", 1)[1]))
  return [data[n] for n in names]


def compare(found, want, where):
  found = np.asarray(found)
  assert found.shape == want.shape
  limit = np.where(np.isin(dif.NAMES, ROLLOFF), 5e-3, 1e-3)
  for name, a, b, most in zip(dif.NAMES, found, want, limit, strict=True):
    assert abs(a - b) <= most, f"{where} {name}: found {a}, expected {b}"


def test_names_and_groups(data):
  assert tuple(data["dif_names"]) == dif.NAMES
  np.testing.assert_array_equal(dif.DEFAULT_KEEP, data["dif_default_keep"])
  np.testing.assert_array_equal(dif.IS_STEREO, data["dif_is_stereo"])


def test_all_candidates(data, candidates):
  compare(candidates(data["waveform"]), data["dif"], "main clip")
  # A program a length: only that of the main clip compiles as users do.
  quick_candidates = quick.jit(dif.candidates)
  clips = train_clips(data)
  assert len(clips) == len(data["dif_train"])
  for i, (clip, want) in enumerate(zip(clips, data["dif_train"], strict=True)):
    compare(quick_candidates(clip), want, f"clip {i}")


def test_features_of_augmented_clips(data, config, candidates):
  wave = data["waveform"]
  own = candidates(wave)
  mix = jax.jit(augment.mix_far)
  assert len(config["aug_s"]) == len(data["dif_aug"])
  for share, want in zip(config["aug_s"], data["dif_aug"], strict=True):
    found = candidates(mix(wave, np.float32(share)))
    found = np.where(dif.IS_STEREO, found, own)
    compare(found, want, f"share {share}")


def test_correlation_of_the_channels(data):
  clips = [data["waveform"], *train_clips(data)]
  all_of = jax.jit(lambda clips: [waveform.pearson(*c) for c in clips])
  np.testing.assert_allclose(all_of(clips), data["lr_corr"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
  ("file", "names"),
  [
    ("frontends", ("tier_lr_corr", "tier_ratio")),
    (
      "backends",
      (
        "augmentation_ratio/tiers/in/lr_corr",
        "augmentation_ratio/tiers/out/ratio",
      ),
    ),
  ],
)
def test_tiers_with_their_edges(golden, file, names):
  given, want = (golden(file)[n] for n in names)
  tiers = augment.TIERS
  found = [augment.ratio(float(x), **tiers) for x in given]
  np.testing.assert_array_equal(found, want)


@jax.jit
def far_and_correlation(both, shares):
  mixed = jax.vmap(augment.mix_far, (None, 0))(both, shares)
  return mixed[:, 1], waveform.pearson(*both)


def test_far_channels_of_the_backends_file(golden):
  data = golden("backends")
  cases = {
    k.rsplit("/", 2)[0] for k in data.files if k.startswith("augment_far/")
  }
  cases = {c for c in cases if f"{c}/in/near" in data.files}
  assert cases
  for case in cases:
    near, far, s = (data[f"{case}/in/{n}"] for n in ("near", "far", "s"))
    mixed, found = far_and_correlation(np.stack([near, far]), s)
    np.testing.assert_allclose(mixed, data[f"{case}/out/far"], atol=1e-5)
    np.testing.assert_allclose(found, data[f"{case}/out/lr_corr"], atol=1e-5)


@pytest.fixture(scope="module")
def shifts(data):
  both = data["shift_source"], data["shift_target"]
  return np.asarray(jax.jit(jax.vmap(shift.domain_shift))(*both))


def test_shift_between_domains(data, shifts):
  np.testing.assert_allclose(shifts, data["shift_w1"], atol=1e-4)
  mean = np.mean(shifts, axis=0)
  np.testing.assert_allclose(mean, data["shift_mean_w1"], atol=1e-4)


def test_features_that_are_kept(data, config, shifts):
  mean = jnp.asarray(np.mean(shifts, axis=0))
  want = data["shift_keep31"]
  keep, limit = shift.drop_largest(mean, int(np.sum(~want)))
  np.testing.assert_array_equal(keep, want)
  assert float(limit) == pytest.approx(float(data["shift_tau31"]), abs=1e-4)
  keep = shift.drop_above(mean, config["tau"])
  np.testing.assert_array_equal(keep, data["shift_keep_tau"])
