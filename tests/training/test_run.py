"""A job that is stopped, killed or fed badly, against one that is not."""

import errno
import json
import os
import shutil
import signal
import threading

import jax
import numpy as np
import pytest

from asd_jax import errors
from asd_jax.training import checkpoint, loop, plan, profile, run
from tests.training import toy

KEY = jax.random.key(0)


def carry_out(folder=None, *, show=None, logs=None, more=None, **settings):
  return run.run(
    toy.job(**{"every": 5, **(more or {})}),
    KEY,
    settings=run.Settings(**settings),
    folder=folder,
    logs=logs,
    show=show,
  )


def flat(state):
  raw = checkpoint._raw(state)
  return [np.asarray(x) for x in jax.tree.leaves(raw)]


def assert_same_bytes(a, b):
  for x, y in zip(flat(a), flat(b), strict=True):
    assert x.tobytes() == y.tobytes()


def lines(folder):
  text = (folder / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A run that nothing happens to: result, its folder, what was shown."""
  folder, seen = tmp_path_factory.mktemp("whole"), []
  found = carry_out(
    folder / "kept",
    logs=folder / "logs",
    show=seen.append,
    profile=folder / "trace",
  )
  return found, folder, seen


def test_the_best_state_by_validation_comes_out(whole):
  found, folder, seen = whole
  told = {s.step: s.metrics["criterion"] for s in seen if s.step % 5 == 0}
  assert found.complete
  assert found.criterion == min(told.values())
  assert told[found.step] == found.criterion
  assert int(found.state.step) == found.step
  kept = {int(p.name) for p in (folder / "kept").iterdir() if p.name.isdigit()}
  assert kept == {15, 20, found.step}


def test_each_step_is_logged_and_shown(whole):
  _, folder, seen = whole
  logged = lines(folder / "logs")
  assert (
    [s.step for s in seen] == [x["step"] for x in logged] == [*range(1, 21)]
  )
  for one, line in zip(seen, logged, strict=True):
    assert one.metrics == {k: line[k] for k in one.metrics}
    assert one.num_steps == 20
  last = seen[-1]
  assert last.clips_per_second == logged[-1]["clips_per_second"] > 0
  assert 0 <= last.waiting <= 1
  assert last.seconds_left == 0
  assert last.metrics["loss"] < seen[0].metrics["loss"]


def test_a_profile_is_written_and_told(whole):
  found, folder, _ = whole
  assert found.notes == [f"{folder / 'trace'}: profile of steps 3 to 7"]
  assert list((folder / "trace").rglob("*.xplane.pb"))


@pytest.mark.parametrize(
  ("start", "stop", "told"),
  [
    (10, 14, "profile of steps 13 to 14"),
    (10, 12, "profile of steps 12 to 12"),
    (0, 1, "profile of steps 1 to 1"),
    (5, 5, "no profile, as no step was left"),
  ],
)
def test_a_short_run_is_profiled_too(monkeypatch, tmp_path, start, stop, told):
  calls = []
  monkeypatch.setattr(jax.profiler, "start_trace", lambda _: calls.append(0))
  monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append(1))
  one = profile.Profile(tmp_path, start, stop)
  for number in range(stop - start):
    one.before(number, None)
  one.close(stop - start, None)
  assert one.notes == [f"{tmp_path}: {told}"]
  assert calls == [0, 1] * (start < stop)
  (tmp_path / "file").touch()
  with pytest.raises(errors.InputError, match="file"):
    profile.Profile(tmp_path / "file" / "x", start, stop)


def test_a_run_in_parts_gives_the_same_bytes(whole, tmp_path):
  found, folder, _ = whole
  logs = tmp_path / "logs"
  for end in (7, 13, None):
    part = carry_out(
      tmp_path / "kept", logs=logs, max_steps=end, checkpoint_every=3
    )
    assert part.complete == (end is None)
    assert part.step == (end or found.step)
  assert_same_bytes(part.state, found.state)
  assert (part.step, part.criterion) == (found.step, found.criterion)
  losses = lambda where: [x["loss"] for x in lines(where)]
  assert losses(logs) == losses(folder / "logs")
  # All is done: nothing is trained, the same comes out.
  again = carry_out(tmp_path / "kept", show=lambda _: pytest.fail("ran"))
  assert_same_bytes(again.state, found.state)


def at(step, do):
  return lambda seen: do() if seen.step == step else None


@pytest.mark.parametrize(
  ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_saves_and_ends(whole, tmp_path, number, status):
  before = signal.getsignal(number)
  kill = at(3, lambda: os.kill(os.getpid(), number))
  with pytest.raises(errors.Stopped) as caught:
    carry_out(tmp_path / "kept", show=kill, logs=tmp_path / "logs")
  assert caught.value.status == status
  step = lines(tmp_path / "logs")[-1]["step"]
  assert 3 < step < 7
  assert str(caught.value) == (
    f"stopped by {number.name}: training toy: step {step} of 20 is saved in"
    f" {tmp_path / 'kept'}"
  )
  assert signal.getsignal(number) == before
  resumed = carry_out(tmp_path / "kept")
  assert_same_bytes(resumed.state, whole[0].state)


def test_a_signal_in_the_middle_of_a_save_loses_nothing(
  whole, tmp_path, monkeypatch
):
  seal, asked = checkpoint.OrbaxCheckpoints._seal, threading.Event()
  sealed = []

  def late(self, unit):
    assert asked.wait(60)
    seal(self, unit)
    sealed.append(unit)

  def ask():
    os.kill(os.getpid(), signal.SIGTERM)
    asked.set()

  monkeypatch.setattr(checkpoint.OrbaxCheckpoints, "_seal", late)
  with pytest.raises(errors.Stopped):
    carry_out(tmp_path / "kept", show=at(3, ask), checkpoint_every=2)
  # The save that it came into, and the last.
  assert sealed[0] == 2
  assert (tmp_path / "kept" / f"{sealed[-1]}.digest").exists()
  resumed = carry_out(tmp_path / "kept")
  assert not resumed.notes
  assert_same_bytes(resumed.state, whole[0].state)


class Killed(Exception):
  pass


def killed(folder, step, **settings):
  def kill():
    raise Killed

  with pytest.raises(Killed):
    carry_out(folder, show=at(step, kill), **settings)


def test_a_save_that_was_killed_leaves_the_one_before(whole, tmp_path):
  folder = tmp_path / "kept"
  killed(folder, 11, checkpoint_every=2)
  newest = max(int(p.name) for p in folder.iterdir() if p.name.isdigit())
  # Killed while Orbax wrote, after it, and before the whole was sealed.
  shutil.copytree(
    folder / str(newest), folder / f"{newest + 1}.orbax-checkpoint-tmp-7"
  )
  (folder / f"{newest}.digest").unlink()
  seen = []
  resumed = carry_out(folder, show=seen.append, checkpoint_every=2)
  assert seen[0].step == newest - 1
  assert_same_bytes(resumed.state, whole[0].state)
  (note,) = resumed.notes
  assert note.startswith(f"{folder / str(newest)}: found a damaged")
  assert not list(folder.glob("*tmp*"))


def test_a_full_disk_ends_with_one_message_and_loses_nothing(
  whole, tmp_path, monkeypatch
):
  folder = tmp_path / "kept"
  calls = iter(range(100))

  def full(descriptor, start, size):
    if next(calls) > 1:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with monkeypatch.context() as patch:
    patch.setattr(os, "posix_fallocate", full)
    with pytest.raises(errors.InputError, match="No space left") as caught:
      carry_out(folder)
  assert str(folder) in str(caught.value)
  seen = []
  resumed = carry_out(folder, show=seen.append)
  assert seen[0].step == 11
  assert_same_bytes(resumed.state, whole[0].state)


def test_a_rate_that_explodes_names_step_and_clips(tmp_path):
  with pytest.raises(loop.NotFiniteError) as caught:
    carry_out(
      tmp_path / "kept", logs=tmp_path / "logs", more={"learning_rate": 1e30}
    )
  last = lines(tmp_path / "logs")[-1]
  assert last["not_finite"]
  step = last["step"]
  clips = toy.job().names(step - 1)
  assert last["clips"] == clips
  assert (
    f"step {step}, batch {step - 1} of {', '.join(clips[:8])} and 8 more"
    in str(caught.value)
  )
  # What was saved before is fine, and is what a lower rate would go on from.
  assert not (tmp_path / "kept" / str(step)).exists()


def test_a_broken_clip_is_told_as_it_is(tmp_path):
  job = toy.job()

  def batch_at(step, rows):
    if step == 4:
      raise errors.InputError("a.wav: found no sound")
    return job.batch_at(step, rows)

  with pytest.raises(errors.InputError, match="a.wav"):
    run.run(job._replace(batch_at=batch_at), KEY, logs=tmp_path)
  assert lines(tmp_path)[-1]["step"] < 5


def test_a_validation_needs_checkpoints():
  with pytest.raises(ValueError, match="folder of checkpoints"):
    carry_out()


def test_a_plan_tells_what_a_training_takes():
  found = plan.plan(toy.job(), KEY, sharded=False)
  assert (found.trained, found.frozen) == (64 * 64 + 64 * 3 + 3, 64 * 64)
  # Parameters, two moments, and some scalars.
  assert 3 * 4 * found.trained < found.state_bytes < 3.1 * 4 * found.trained
  assert found.device_bytes > found.state_bytes + 4 * found.frozen
  # Two products forward, one back: the frozen matrix has no gradient.
  assert 3 < found.step_flops / (2 * 16 * 64 * 64) < 5
  assert 3 < found.product_flops / (2 * 16 * 64 * 64) < 5
  assert found.step_seconds > 0
  text = plan.lines("toy", found._replace(step_seconds=2.0, num_steps=1800))
  assert text[0] == "toy: 4.29 k parameters trained, 4.1 k frozen"
  assert " a step at least, of products " in text[-1]
  assert text[-1].endswith("FLOP; 2 s (8 clips/s), 1.0 h in all")
  text = plan.lines("toy", found._replace(step_seconds=float("nan")))
  assert text[-1].endswith("; none was tried here")
