"""How a stream is cut."""

import io

import numpy as np
import pytest

from asd_jax.runs import stream


def cut(num_samples, *, window, hop, num_channels=2, most=7, more=b""):
  """Starts and samples of the windows of a ramp, read in small pieces."""
  ramp = np.arange(num_samples * num_channels, dtype="<i2")
  source = io.BytesIO(ramp.tobytes() + more)
  form = stream.Form(16_000, num_channels, window, hop)
  read = lambda num: source.read(min(num, most))
  out = []
  for start, samples in stream.windows(read, form):
    expected = ramp.reshape(-1, num_channels).T[:, start:][:, : len(samples[0])]
    np.testing.assert_array_equal(samples, expected)
    assert samples.dtype == np.int16
    out.append((start, samples.shape[1]))
  return out


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_windows_follow_each_other(most):
  assert cut(12, window=4, hop=4, most=most) == [(0, 4), (4, 4), (8, 4)]
  assert cut(8, window=4, hop=2, most=most) == [(0, 4), (2, 4), (4, 4)]
  assert cut(9, window=4, hop=1, most=most) == [(i, 4) for i in range(6)]


def test_half_a_window_at_the_end_counts():
  assert cut(9, window=4, hop=4) == [(0, 4), (4, 4)]
  assert cut(10, window=4, hop=4) == [(0, 4), (4, 4), (6, 4)]
  assert cut(7, window=4, hop=3) == [(0, 4), (3, 4)]
  assert cut(9, window=4, hop=3) == [(0, 4), (3, 4), (5, 4)]


def test_a_short_stream_comes_as_it_is_and_an_empty_one_not():
  assert cut(3, window=4, hop=4) == [(0, 3)]
  assert cut(0, window=4, hop=4) == []


def test_a_part_of_a_sample_at_the_end_is_dropped():
  assert cut(4, window=4, hop=4, more=b"abc") == [(0, 4)]
  assert cut(2, window=4, hop=4, num_channels=1, more=b"a") == [(0, 2)]
  assert cut(0, window=4, hop=4, more=b"abc") == []


def test_a_window_comes_with_its_last_sample():
  form, asked = stream.Form(16_000, 1, 4, 4), []

  def read(num):
    asked.append(num)
    return bytes(num)

  found = stream.windows(read, form)
  next(found)
  assert asked == [8]
  next(found)
  assert asked == [8, 8]
