"""Domain-invariant features against stored numbers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.frontends import augment, dif
from asd_jax.ops import shift, waveform

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
  return [jnp.asarray(data[n]) for n in names]


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
  compare(candidates(jnp.asarray(data["waveform"])), data["dif"], "main clip")
  clips = train_clips(data)
  assert len(clips) == len(data["dif_train"])
  for i, (clip, want) in enumerate(zip(clips, data["dif_train"], strict=True)):
    compare(candidates(clip), want, f"clip {i}")


def test_features_of_augmented_clips(data, config, candidates):
  wave = jnp.asarray(data["waveform"])
  own = candidates(wave)
  assert len(config["aug_s"]) == len(data["dif_aug"])
  for share, want in zip(config["aug_s"], data["dif_aug"], strict=True):
    found = candidates(augment.mix_far(wave, jnp.float32(share)))
    found = jnp.where(jnp.array(dif.IS_STEREO), found, own)
    compare(found, want, f"share {share}")


def test_correlation_of_the_channels(data):
  for clip, want in zip(
    [jnp.asarray(data["waveform"]), *train_clips(data)],
    data["lr_corr"],
    strict=True,
  ):
    assert waveform.pearson(clip[0], clip[1]) == pytest.approx(want, abs=1e-5)


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


def test_far_channels_of_the_backends_file(golden):
  data = golden("backends")
  cases = {
    k.rsplit("/", 2)[0] for k in data.files if k.startswith("augment_far/")
  }
  cases = {c for c in cases if f"{c}/in/near" in data.files}
  assert cases
  for case in cases:
    near, far, s = (
      jnp.asarray(data[f"{case}/in/{n}"]) for n in ("near", "far", "s")
    )
    both = jnp.stack([near, far])
    found = jax.vmap(lambda x, w=both: augment.mix_far(w, x)[1])(s)
    np.testing.assert_allclose(found, data[f"{case}/out/far"], atol=1e-5)
    found = waveform.pearson(near, far)
    np.testing.assert_allclose(found, data[f"{case}/out/lr_corr"], atol=1e-5)


def test_shift_between_domains(data):
  found = jax.vmap(shift.domain_shift)(
    jnp.asarray(data["shift_source"]), jnp.asarray(data["shift_target"])
  )
  np.testing.assert_allclose(found, data["shift_w1"], atol=1e-4)
  mean = jnp.mean(found, axis=0)
  np.testing.assert_allclose(mean, data["shift_mean_w1"], atol=1e-4)


def test_features_that_are_kept(data, config):
  found = jax.vmap(shift.domain_shift)(
    jnp.asarray(data["shift_source"]), jnp.asarray(data["shift_target"])
  )
  mean = jnp.mean(found, axis=0)
  want = data["shift_keep31"]
  keep, limit = shift.drop_largest(mean, int(np.sum(~want)))
  np.testing.assert_array_equal(keep, want)
  assert float(limit) == pytest.approx(float(data["shift_tau31"]), abs=1e-4)
  keep = shift.drop_above(mean, config["tau"])
  np.testing.assert_array_equal(keep, data["shift_keep_tau"])
