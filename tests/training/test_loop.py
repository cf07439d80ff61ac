import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.encoders import autoencoder
from asd_jax.training import checkpoint, loop, reconstruction, windows

ENCODER = autoencoder.autoencoder(num_hidden=16, num_bottleneck=4)
NETWORK = reconstruction.Network(
  ENCODER.init, ENCODER.about.loss, ENCODER.about.errors
)
RECIPE = reconstruction.Recipe(batch_size=32, num_epochs=5, checkpoint_every=1)


class Killed(Exception):
  pass


def data_of():
  rng = np.random.default_rng(0)
  clips = [rng.normal(size=(n, 8)).astype(np.float32) for n in (30, 41, 30, 25)]
  return windows.from_clips(
    clips, np.array([False, True, False, False]), num_context=5
  )


@pytest.fixture(scope="module")
def data():
  return data_of()


@pytest.fixture(scope="module")
def fit():
  return reconstruction.Trainer(NETWORK, RECIPE)


KEYS = jax.vmap(jax.random.key)(jnp.arange(3))


def assert_same_bytes(a, b):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def store(folder, every=1):
  return checkpoint.OrbaxCheckpoints(
    folder, num_units=RECIPE.num_epochs, every=every
  )


@pytest.mark.parametrize(("every", "kill_at"), [(1, 2), (2, 3), (3, 2)])
def test_a_killed_training_resumes_to_the_same_bytes(
  tmp_path, data, fit, every, kill_at
):
  whole = fit(KEYS, data)

  def kill(unit, metrics):
    if unit == kill_at:
      raise Killed

  first = store(tmp_path, every)
  with pytest.raises(Killed):
    fit(KEYS, data, checkpoints=first, on_epoch=kill)
  first.close()
  seen = []
  second = store(tmp_path, every)
  resumed = fit(
    KEYS, data, checkpoints=second, on_epoch=lambda u, m: seen.append(u)
  )
  second.close()
  assert seen[-1] == RECIPE.num_epochs
  if every == 1:
    assert seen[0] > 1
  assert_same_bytes(whole, resumed)


def test_a_finished_training_is_read_back(tmp_path, data, fit):
  first = store(tmp_path)
  whole = fit(KEYS, data, checkpoints=first)
  first.close()
  second = store(tmp_path)
  again = fit(
    KEYS, data, checkpoints=second, on_epoch=lambda u, m: pytest.fail("ran")
  )
  second.close()
  assert_same_bytes(whole, again)


def damage(path, kind):
  data = bytearray(path.read_bytes())
  if kind == "gone":
    path.unlink()
  elif kind == "cut":
    path.write_bytes(data[: len(data) // 2])
  else:
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["gone", "cut", "changed"])
def test_a_damaged_checkpoint_is_left_out_with_a_note(tmp_path, kind, capfd):
  """The one before it is taken, and then none: no number is taken on trust."""
  tree = {"a": jnp.arange(3000.0), "key": jax.random.key(3)}
  like = lambda: jax.eval_shape(lambda: tree)
  first = store(tmp_path)
  for unit in (1, 2):
    first.save(unit, {**tree, "a": tree["a"] * unit})
  first.close()
  for unit, want in ((2, 1), (1, None)):
    largest = max(
      (p for p in (tmp_path / str(unit)).rglob("*") if p.is_file()),
      key=lambda p: p.stat().st_size,
    )
    damage(largest, kind)
    again = store(tmp_path)
    found = again.restore(like)
    assert (found and found[0]) == want
    if found:
      np.testing.assert_array_equal(found[1]["a"], tree["a"] * want)
    (note,) = again.notes
    assert note.startswith(f"{tmp_path / str(unit)}: found a damaged")
    again.close()
  last = store(tmp_path)
  last.save(2, tree)
  assert last.restore(like)[0] == 2
  last.close()
  assert not capfd.readouterr().err


def test_a_checkpoint_of_another_network_is_left_out(tmp_path):
  first = store(tmp_path)
  first.save(1, {"a": jnp.zeros(3)})
  first.close()
  for other in ({"a": jnp.zeros(4)}, {"b": jnp.zeros(3)}):
    again = store(tmp_path)
    assert again.restore(lambda: jax.eval_shape(lambda: other)) is None  # noqa: B023
    again.save(1, {"a": jnp.zeros(3)})
    again.close()


def test_members_equal_single_trainings(data, fit):
  together = fit(KEYS, data)
  for k in range(len(KEYS)):
    alone = fit(KEYS[k : k + 1], data)
    np.testing.assert_allclose(
      together.batch_loss[k], alone.batch_loss[0], rtol=2e-3
    )


def test_members_differ(data, fit):
  loss = np.asarray(fit(KEYS, data).batch_loss)
  assert len(np.unique(loss[:, 0])) == len(KEYS)


def test_a_loss_that_is_not_finite_stops_and_names_the_member(
  tmp_path, data, fit
):
  broken = data.replace(frames=data.frames.at[0, 0].set(jnp.inf))
  kept = store(tmp_path)
  with pytest.raises(loop.NotFiniteError, match=r"unit 1 .*members \["):
    fit(KEYS, broken, checkpoints=kept)
  assert kept.restore(lambda: None) is None
  kept.close()


def test_windows_never_cross_a_clip(data):
  start = np.asarray(data.start)
  assert len(start) == 26 + 37 + 26 + 21
  assert not {26, 27, 28, 29, 67, 68} & set(start.tolist())
  got = data.take(jnp.array([26]))[0]
  np.testing.assert_array_equal(got, np.ravel(data.frames[30:35]))
  assert int(data.is_target.sum()) == 37


def test_split_holds_out_a_rounded_up_tenth_without_overlap(key):
  train, valid = reconstruction.split(key, 101, fraction=0.1)
  assert len(valid) == 11
  np.testing.assert_array_equal(
    np.sort(np.concatenate([train, valid])), np.arange(101)
  )


def test_epoch_uses_every_row_and_drops_a_lone_last_one(data):
  def rows_seen(num, batch):
    _, out = reconstruction.train_state.scan_order(
      lambda s, x: (s, x.sum()),
      0.0,
      jnp.ones(num),
      batch_size=batch,
      take=lambda i: i,
    )
    return float(out.sum())

  assert rows_seen(10, 4) == 10
  assert rows_seen(9, 4) == 8
  assert rows_seen(3, 4) == 3


def test_no_target_windows_give_target_the_source_covariance():
  scatter = jnp.stack([jnp.eye(3) * 8.0, jnp.zeros((3, 3))])
  cov = reconstruction.covariances(scatter, jnp.array([5.0, 0.0]))
  np.testing.assert_array_equal(cov[0], 2.0 * np.eye(3))
  np.testing.assert_array_equal(cov[1], cov[0])


def test_a_bad_recipe_is_refused():
  with pytest.raises(ValueError, match="num_units"):
    loop.run(jnp.zeros(()), lambda i, s: (s, {"loss": s}), num_units=0)
