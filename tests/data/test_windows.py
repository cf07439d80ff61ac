"""Recordings are cut into windows, which are clips."""

import pathlib
import tracemalloc

import numpy as np
import pytest
import soundfile

from asd_jax.data import audio, clips, decode, windows
from tests.data.wave_files import noise, write

RATE = 1000


def clip(seconds, name="a.wav", rate=RATE):
  header = audio.Header(1, round(seconds * rate), rate, "PCM_16")
  path = pathlib.Path(name)
  return clips.Clip(path, "fan", "00", "train", None, None, "", header)


def spans(some):
  return [(c.start, c.start + c.header.num_samples) for c in some]


@pytest.mark.parametrize(
  ("num", "window", "hop", "want"),
  [
    (10, 5, 5, [0, 5]),
    (12, 5, 5, [0, 5]),  # less than half a window is left
    (13, 5, 5, [0, 5, 8]),
    (10, 4, 2, [0, 2, 4, 6]),
    (5, 5, 5, [0]),
  ],
)
def test_windows_follow_each_other_to_the_end(num, window, hop, want):
  assert windows.starts(num, window, hop) == want


def test_only_recordings_twice_as_long_as_training_clips_are_cut():
  how = windows.rule([clip(s) for s in (2, 3, 3, 4)], 0.0, 0.0)
  assert how == windows.Cut(3.0, 3.0, 4.0)
  plan = windows.cut([clip(7.9), clip(8), clip(1)], how)
  assert plan.rows == [range(1), range(1, 4), range(4, 5)]
  assert [c.recording is not None for c in plan.clips] == [
    False, True, True, True, False,
  ]  # fmt: skip
  assert spans(plan.clips[1:4]) == [(0, 3000), (3000, 6000), (5000, 8000)]
  assert windows.start_seconds(plan.clips[3]) == 5.0
  assert windows.cut([clip(8)], None).clips == [clip(8)]


def test_lengths_are_seconds_of_the_recording_s_own_rate():
  how = windows.rule([clip(2, rate=16_000)], 0.0, 0.5)
  plan = windows.cut([clip(4, rate=44_100)], how)
  assert {c.header.num_samples for c in plan.clips} == {88_200}
  assert [c.start for c in plan.clips] == [0, 22_050, 44_100, 66_150, 88_200]


@pytest.mark.parametrize(
  ("lengths", "window", "want"),
  [
    ((2, 3, 4), 0.0, [2, 3, 4]),
    ((2, 12, 50), 0.0, [2, 12, 50]),  # clips, however their lengths differ
    ((95,), 0.0, [10] * 9),  # no clip: as long as the challenge's
    ((2, 3, 4, 61), 0.0, [2, 3, 4] + [3] * 20),
    ((40, 40, 79), 0.0, [40, 40, 79]),  # not twice as long
    ((2, 3, 9), 4.5, [2, 3, 4.5, 4.5]),
  ],
)
def test_training_recordings_are_cut_without_overlap(lengths, window, want):
  train = [clip(s, f"{i}.wav") for i, s in enumerate(lengths)]
  found = windows.of_training(train, window)
  assert [windows.seconds(c) for c in found] == want
  again = windows.of_training(found, window)
  assert again == found
  for path in {c.path for c in found}:
    ends = spans([c for c in found if c.path == path])
    assert all(a[1] == b[0] for a, b in zip(ends, ends[1:], strict=False))


def test_windows_have_places_in_time_and_clips_have_none():
  found = windows.of_training([clip(2, "c"), clip(70, "b"), clip(60, "a")], 20)
  assert windows.order(found).tolist() == [-1, 3, 4, 5, 0, 1, 2]


def test_a_window_is_decoded_and_named_by_itself(tmp_path):
  file = write(tmp_path / "a.wav", noise(1000))
  whole = clips.Clip(
    file.path, "fan", "00", "test", None, None, "", file.header
  )
  how = windows.Cut(*(x / file.header.sample_rate for x in (300, 150, 300)))
  plan = windows.cut([whole], how)
  batches = list(decode.batches(plan.clips, batch_size=4))
  assert [b.index.tolist() for b in batches] == [[0, 1, 2, 3], [4, -1, -1, -1]]
  every = np.concatenate([b.audio for b in batches])[:5]
  for wave, one in zip(every, plan.clips, strict=True):
    np.testing.assert_array_equal(wave, noise(1000).T[:, one.start :][:, :300])
  names = {decode.digest(c) for c in (whole, *plan.clips)}
  assert len(names) == 6
  write(file.path, noise(400))
  with pytest.raises(ValueError, match=r"a\.wav: found 400 samples, expected"):
    list(decode.batches(plan.clips, batch_size=4))


def test_memory_does_not_grow_with_a_recording(tmp_path):
  path, rate = tmp_path / "two_minutes.wav", 48_000
  with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as file:
    part = noise(10 * rate)
    for _ in range(12):
      file.write(part)
  header = audio.read_header(path)
  whole = clips.Clip(path, "fan", "00", "test", None, None, "", header)
  plan = windows.cut([whole], windows.Cut(1.0, 1.0, 1.0))
  assert len(plan.clips) == 120
  tracemalloc.start()
  num = 0
  for batch in decode.batches(plan.clips, batch_size=4, sample_rate=rate):
    num += int((batch.index >= 0).sum())
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert num == 120
  # Three batches, and what a few windows in work take.
  window = 2 * rate * 4
  assert peak < 40 * window < path.stat().st_size
