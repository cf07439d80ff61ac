import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.engine import decide, encode, programs
from asd_jax.engine import section as section_lib
from asd_jax.engine import system as system_lib
from asd_jax.engine.normals import Normals
from asd_jax.runs import explain, reasons, suspects
from configs import plain_knn

RATE = 16_000


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def noise(rng, num=RATE):
  return (rng.normal(size=(2, num)) / 20).astype(np.float32)


def test_swapping_every_segment_gives_the_other_clip(rng):
  wave, other = noise(rng), noise(rng)
  samples, _ = explain.edges(RATE, RATE)
  pairs = zip(samples[:-1], samples[1:], strict=True)
  change = sum(explain.swap_time(wave, other, *p) - wave for p in pairs)
  middle = slice(200, -200)  # the fades reach over the ends of the clip
  np.testing.assert_allclose(
    (wave + change)[:, middle], other[:, middle], rtol=0, atol=2e-2
  )


def test_swapping_every_band_gives_the_other_clip(rng):
  wave, other = noise(rng, 15_999), noise(rng, 15_999)
  _, hertz = explain.edges(15_999, RATE)
  pairs = zip(hertz[:-1], hertz[1:], strict=True)
  change = sum(
    explain.swap_band(wave, other, low, high, RATE) - wave
    for low, high in pairs
  )
  np.testing.assert_allclose(wave + change, other, rtol=0, atol=1e-5)


def test_short_references_are_repeated():
  some = np.arange(6).reshape(2, 3)
  long = explain.fitted(some, 5)
  np.testing.assert_array_equal(long, [[0, 1, 2, 0, 1], [3, 4, 5, 3, 4]])
  assert explain.fitted(some, 2).shape == (2, 2)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_the_reason_names_where_and_when_a_tone_sounds(rng, dtype):
  t = np.arange(RATE) / RATE
  wave = noise(rng) / 10
  tone = np.sin(2 * np.pi * 3000 * t) * ((t >= 0.4) & (t < 0.5))
  wave += 0.5 * tone.astype(np.float32)
  sizes = set()

  def loudness(batch):
    sizes.add((len(batch), batch.dtype.name))
    clean = batch / 32_768 if batch.dtype == np.int16 else batch
    return np.square(clean).sum(axis=(1, 2))

  def of(x):
    return (x * 32_768).astype(np.int16) if dtype == np.int16 else x

  others = [of(noise(rng, n) / 10) for n in (RATE, RATE // 3)]
  reason = explain.explain(
    loudness, of(wave), others, batch_size=7, rate=RATE, known=[]
  )
  assert sizes == {(7, np.dtype(dtype).name)}
  assert np.argmax(reason.time) == 4
  band = np.argmax(reason.band)
  assert reason.hertz[band] <= 3000 < reason.hertz[band + 1]
  assert reason.band[band] > 10 * np.delete(reason.band, band).max()


def encode_clip(system):
  return functools.partial(encode.clip_features, system.branches)


@pytest.fixture(scope="module")
def bank():
  """A kNN system fitted to seven clips: system, state and clips."""
  draws = np.random.default_rng(1)
  system = system_lib.build(plain_knn.get_config().to_dict())
  waves = np.stack([noise(draws) * (1 + i) for i in range(7)])
  compute = jax.jit(jax.vmap(encode_clip(system), in_axes=(None, None, 0)))
  feats = compute(encode.unfitted(system.branches), {}, jnp.asarray(waves))
  normals = Normals(
    encode.unfitted(system.branches),
    (feats,),
    jnp.arange(7),
    jnp.zeros(7, bool),
    {},
  )
  return (
    system,
    system_lib.compiled_fit(system)(system.hypers, normals)[0],
    waves,
  )


def test_nearest_training_clips_are_those_of_the_bank(rng, bank):
  system, state, waves = bank
  compiled = explain.bank_scorer(system)
  assert explain.has_bank(state)
  clip = noise(rng) * 3.4
  feats = jax.jit(encode_clip(system))(state["front"], {}, clip)
  found = explain.nearest_rows(compiled, state, feats, len(waves), 7)
  fitted = jax.tree.map(
    lambda x: np.asarray(x[0]), state["branches"]["log_mel"]
  )
  change = fitted["transform"]
  emb = (np.asarray(feats["log_mel"])[0] - change["mean"]) / change["std"]
  rows = fitted["backend"].rows
  wanted = np.linalg.norm(rows.emb + rows.centre - emb[None], axis=1)
  assert [i for i, _ in found] == list(np.argsort(wanted))
  np.testing.assert_allclose([s for _, s in found], np.sort(wanted), rtol=1e-4)
  best = jax.jit(functools.partial(system_lib.score, system))(
    system.hypers, state, feats
  )
  np.testing.assert_allclose(found[0][1], best, rtol=1e-5)


def test_a_state_without_rows_has_no_bank():
  assert not explain.has_bank({"a": {"backend": {"mean": jnp.zeros(3)}}})


def test_nearest_spectra_finds_the_clip_itself(rng):
  some = [noise(rng) * 2.0**i for i in range(5)]
  means = [explain.mean_spectrum(x, RATE) for x in some]
  near = explain.nearest_spectra(means[3], means, 2)
  assert near[0] == 3


NOTHING = reasons.Reasons(None, "", "on")


def part(scores, train, **told):
  facts = {"train_scores": list(train)}
  return types.SimpleNamespace(
    score=np.array(scores),
    train=100 + train,  # of models of folds: on a scale of their own
    section=section_lib.Section(None, None, None, decide.Rule(), facts),
    **told,
  )


def test_every_machine_shows_its_worst_clip_before_any_second():
  train = np.linspace(0, 1, 11)
  scored = {
    "a": {"00": part([9.0, 8.0, 7.0, 6.0], train)},
    "b": {"00": part([0.1], train), "01": part([2.0], train)},
    "none": {"00": part([], train)},
  }
  picks = suspects.choose(scored, per_machine=3, in_all=3)
  assert [(p.machine, p.section, p.row) for p in picks] == [
    ("a", "00", 0), ("a", "00", 1), ("b", "01", 0),
  ]  # fmt: skip
  every = suspects.choose(scored, per_machine=3, in_all=9)
  assert [p.machine for p in every] == ["a", "a", "a", "b", "b"]


def finder(tmp_path, rng, bank, seconds=30.0, kept=NOTHING):
  import soundfile

  from asd_jax.data import clips

  system, state, waves = bank
  for folder, num in (("normal", 7), ("test", 2)):
    (tmp_path / folder).mkdir()
    for i in range(num):
      sound = waves[i].T if folder == "normal" else noise(rng).T * 12
      soundfile.write(tmp_path / folder / f"{i}.wav", sound, RATE)
  machine = clips.read_plain(tmp_path / "normal", tmp_path / "test", name="m")
  scored = {"m": {"00": part(
    [3.0, 4.0], np.arange(7.0), clips=machine.test,
    decisions=np.array([1, -1]), p_values=np.array([0.1, np.nan]),
  )}}  # fmt: skip
  compiled = programs.Programs(system, dict, 4)
  return lambda: suspects.find(
    compiled, [machine], scored, {"sample_rate": RATE},
    lambda machine, section: state, link=lambda path: f"../{path.name}",
    seconds=seconds, kept=kept,
  )  # fmt: skip


def test_suspects_come_with_sound_neighbours_and_reason(tmp_path, rng, bank):
  first, second = finder(tmp_path, rng, bank)()
  assert (first.name, second.name) == ("1.wav", "0.wav")
  assert first.sound.wave.shape == first.normal.wave.shape
  assert first.sound.link == "../1.wav"
  assert first.normal.name == first.references[0]
  assert (first.decision, first.p_value) == (-1, None)
  assert (second.decision, second.p_value) == (1, 0.1)
  assert first.reason is not None
  assert len(first.neighbours) == 2
  assert first.neighbours[0][1] <= first.neighbours[1][1]
  assert first.references == tuple(name for name, _ in first.neighbours)
  assert not first.problem


def test_a_clip_that_is_gone_is_named_and_stops_nothing(tmp_path, rng, bank):
  find = finder(tmp_path, rng, bank)
  (tmp_path / "test" / "1.wav").unlink()
  first, second = find()
  assert first.sound is None
  assert "1.wav" in first.problem
  assert second.reason is not None


def test_reasons_stop_when_time_is_up(tmp_path, rng, bank):
  first, _ = finder(tmp_path, rng, bank, seconds=-1.0)()
  assert first.sound is not None
  assert first.normal is not None
  assert first.reason is None
  assert "takes too long" in first.problem
  assert "next run" not in first.problem


def reason_of(suspect):
  return [x.tolist() for x in suspect.reason], suspect.neighbours


def test_a_kept_reason_is_read_and_half_a_one_goes_on(
  tmp_path, rng, bank, monkeypatch
):
  passes, stop = [], [2]
  score = programs.Programs.score

  def counted(self, state, wave, **told):
    if len(passes) == stop[0]:
      raise TimeoutError
    passes.append(wave)
    return score(self, state, wave, **told)

  monkeypatch.setattr(programs.Programs, "score", counted)
  kept = reasons.Reasons(tmp_path / "kept", "a system", "on")
  find = finder(tmp_path, rng, bank, kept=kept)
  first, _ = find()
  assert first.reason is None
  assert "next run goes on" in first.problem
  stop[0] = None
  find()
  # The clip and ten segments and twelve bands of two references, in fours.
  whole, num = -(-45 // 4), len(passes)
  assert num == 2 * whole
  again = find()
  assert len(passes) == num
  monkeypatch.setattr(reasons.Reasons, "get", lambda self, key: None)
  assert [*map(reason_of, again)] == [*map(reason_of, find())]
  assert len(passes) == 2 * num


def test_mixed_rows_are_nobodys_nearest_clip(rng):
  config = plain_knn.get_config().to_dict()
  config["branches"]["log_mel"] |= dict(
    transform=dict(name="identity"), bank=dict(name="memmixup", lam=0.5)
  )
  system = system_lib.build(config)
  emb = rng.normal(size=(6, 1, 8)).astype(np.float32)
  front = encode.unfitted(system.branches)
  normals = Normals(
    front, ({"log_mel": emb},), np.arange(6), np.arange(6) > 3, {}, num_target=2
  )
  state, _ = system_lib.compiled_fit(system)(system.hypers, normals)
  # Between a target and a source clip lies a mixed row.
  query = (emb[5] + emb[0]) / 2
  compiled = explain.bank_scorer(system)
  found = explain.nearest_rows(compiled, state, {"log_mel": query}, 6, 6)
  wanted = np.linalg.norm(emb[:, 0] - query, axis=1)
  assert [i for i, _ in found] == list(np.argsort(wanted))
  np.testing.assert_allclose([s for _, s in found], np.sort(wanted), rtol=1e-4)
  score = jax.jit(functools.partial(system_lib.score, system, system.hypers))
  alone = score(state, {"log_mel": query})
  assert alone < 0.1 * wanted.min()
