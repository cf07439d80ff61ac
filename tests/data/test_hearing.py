"""What is said of samples, alone and beside training clips."""

import numpy as np
import pytest

from asd_jax.data import hearing
from tests.data import containers as made

RATE = 16_000
CLIP = made.tone(3, seconds=0.5).T.astype(np.float32)  # [2, S]
FULL = 1.0


def changed(fn):
  x = CLIP.copy()
  fn(x)
  return np.clip(x, -1.0, 1.0)


def far_is_near(x):
  x[1] = x[0] + 0.003 * np.random.default_rng(0).standard_normal(x.shape[1])


def two_microphones_of_a_recorder(x):
  rng = np.random.default_rng(0)
  x[1] = 0.8 * x[0] + 0.04 * rng.standard_normal(x.shape[1])


def still(x):
  x[0, 2000:3000] = x[0, 2000]


def to_zero(x):
  x[1, 4000:] = 0


def louder(x):
  x *= 12


ODD = {
  "equal": (lambda x: x.__setitem__(1, x[0]), "channel 1 is the same as"),
  "ordinary stereo": (far_is_near, "ordinary stereo"),
  "stereo": (two_microphones_of_a_recorder, "ordinary stereo"),
  "reversed copy": (lambda x: x.__setitem__(1, -x[0]), "sign reversed"),
  "silent": (lambda x: x.__setitem__(1, 0), "channel 1 is silent"),
  "dead": (lambda x: x.__setitem__(1, 0.01), "channel 1 is dead"),
  "hardly alive": (lambda x: x.__imul__(1e-4), "hardly above silence"),
  "offset": (lambda x: x.__iadd__(0.1), "constant offset of 0.1"),
  "clipped": (louder, "is clipped at"),
  "dropout": (still, "channel 0 drops out: 12.50% of its samples"),
  "ends early": (to_zero, "channel 1 drops out: 50.00% of its samples"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("name", ODD)
def test_odd_channels_are_told(name, dtype):
  change, told = ODD[name]
  x = changed(change)
  if dtype == np.int16:
    x = np.clip(np.round(x * 32_768), -32_768, 32_767).astype(np.int16)
  found = hearing.remarks(x, "PCM_16", RATE)
  assert told in " ".join(found), found


def test_a_good_clip_has_no_remarks():
  for seed in range(5):
    clip = made.tone(seed, seconds=0.5).T.astype(np.float32)
    assert hearing.remarks(clip, "FLOAT", RATE) == ()
    assert hearing.remarks(clip[:1], "FLOAT", RATE) == ()


def test_levels_do_not_depend_on_the_sample_format_or_an_offset():
  whole = np.round(CLIP * 32_768).astype(np.int16)
  wanted = hearing.levels(CLIP)
  x = CLIP.astype(np.float64)
  power = 10 * np.log10(np.var(x, axis=1))
  np.testing.assert_allclose(wanted[:2], power, atol=1e-4)
  np.testing.assert_allclose(wanted[2], np.corrcoef(x)[0, 1], atol=1e-5)
  for other in (whole, CLIP + np.float32(0.25)):
    np.testing.assert_allclose(hearing.levels(other), wanted, atol=2e-3)
  assert np.isnan(hearing.levels(CLIP[:1]).far_db)


def test_levels_travel_among_notes():
  found = hearing.levels(CLIP)
  notes = [f"a: levels: b\n.wav: {hearing.said(found)}", "a.wav: is odd"]
  others, heard = hearing.split(notes)
  assert others == ["a.wav: is odd"]
  ((name, back),) = heard
  assert name == "a: levels: b\n.wav"
  np.testing.assert_allclose(back, found, atol=6e-3)


TRAIN = [
  hearing.levels(made.tone(i, seconds=0.5).T.astype(np.float32))
  for i in range(12)
]
BESIDE = {
  "as in training": (lambda x: x, []),
  "swapped": (lambda x: x[::-1], ["near and far look swapped"]),
  "softer": (lambda x: x / 10, ["channel 0", "channel 1"]),
  "louder": (lambda x: 4 * x, ["channel 0", "channel 1"]),
  "reversed": (lambda x: x * [[1], [-1]], ["changed its sign"]),
  "silent": (lambda x: x * [[1], [0]], []),  # said without training clips
}


@pytest.mark.parametrize("name", BESIDE)
def test_clips_unlike_the_training_clips_are_told(name):
  change, told = BESIDE[name]
  usual = hearing.usual(TRAIN)
  found = hearing.beside(hearing.levels(change(CLIP)), usual)
  assert len(found) == len(told), found
  for text, wanted in zip(found, told, strict=True):
    assert wanted in text
  assert hearing.beside(hearing.levels(change(CLIP)), {}) == []


def test_training_clips_are_told_too():
  one = hearing.levels(made.tone(5, seconds=0.5).T.astype(np.float32)[::-1])
  every = [(f"{i}.wav", x) for i, x in enumerate([*TRAIN, one])]
  (note,) = hearing.of_all(every, hearing.usual([x for _, x in every]))
  assert note.startswith("12.wav: near and far look swapped")


def test_one_channel_has_a_level_alone():
  some = [hearing.levels(made.tone(i, channels=1).T) for i in range(3)]
  usual = hearing.usual(some)
  assert list(usual) == ["near_db"]
  assert hearing.beside(some[0], usual) == []
  assert len(hearing.beside(some[0]._replace(near_db=-60), usual)) == 1
