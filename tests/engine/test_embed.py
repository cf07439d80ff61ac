"""The embedding stage: layers, channels, lengths, devices and the cache."""

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from flax import traverse_util

from asd_jax import store
from asd_jax.data import clips, hearing
from asd_jax.encoders import load
from asd_jax.engine import (
  cache,
  embed,
  encode,
  frozen,
  gather,
  settings,
  sources,
)
from asd_jax.engine import system as system_lib
from configs import common

RATE = 16_000


def config_of(layers=("layer_1",), **settings):
  c = common.run("embed", "smoke")
  c.batch_size = 2
  eat = common.add_encoder(c, "eat", arg="smoke")
  c.branches = {
    f"eat_{layer}": common.branch(
      channels=(0, 1),
      frontend=dict(name="eat_fbank"),
      encoder={**eat("output"), "layer": layer},
      view=dict(name="residual", alpha=0.5),
      pooling=dict(name="mean_time_flat"),
    )
    for layer in layers
  }
  return {**c.to_dict(), **settings}


def write(folder, lengths):
  rng = np.random.default_rng(0)
  for split, some in (("normal", lengths), ("test", lengths[:1])):
    (folder / split).mkdir(parents=True)
    for i, num in enumerate(some):
      wave = rng.normal(size=(num, 2)) * 0.1
      soundfile.write(folder / split / f"{i}.wav", wave, RATE)
  machine = clips.read_plain(folder / "normal", folder / "test", name="m")
  return machine.train


@pytest.fixture
def some(tmp_path, monkeypatch):
  """Seven clips of three lengths."""
  monkeypatch.setenv("ASD_JAX_CACHE", str(tmp_path / "cache"))
  lengths = [6000, 9000, 6000, 6000, 7000, 9000, 6000]
  return write(tmp_path / "data", lengths)


PROGRAMS = {}


def of_one_length(some):
  """Four clips that one program computes."""
  return [some[i] for i in (0, 2, 3, 6)]


def opened(config):
  """The stage as a run of its own opens it, with programs of earlier tests."""
  system = system_lib.build(config)
  loaded = load.at_random(sources.encoders(system.branches))
  stage = frozen.open_embedder(system, loaded, config)
  about = {k: v for k, v in config.items() if k != "cache"}
  key = store.digest(about, sorted((n, w.digest) for n, w in loaded.items()))
  # A copy: tests put functions that count in the place of some.
  stage.programs = copy.copy(PROGRAMS.setdefault(key, stage.programs))
  return stage


def gathered(embedder, some):
  front = encode.unfitted(embedder.programs.system.branches)
  normals, notes = gather.collect(embedder, front, some)
  names = list(normals.features[0])
  rows = {
    n: np.concatenate([g[n] for g in normals.features])[normals.order]
    for n in names
  }
  return rows, hearing.split(notes)[0]  # what is odd, without levels


def alone(config, clip):
  """A clip's features without batches or cache."""
  system = system_lib.build(config)
  loaded = load.at_random(sources.encoders(system.branches))
  wave = jnp.asarray(soundfile.read(clip.path)[0].T, jnp.float32)
  params = {n: w.params for n, w in loaded.items()}
  front = encode.unfitted(system.branches)
  compute = functools.partial(encode.clip_features, system.branches)
  return jax.jit(compute)(front, params, wave)


def test_features_of_clips_of_any_length_are_those_of_the_clip_alone(some):
  config = config_of(("layer_1", "output"), cache="off")
  found, _ = gathered(opened(config), some)
  for i in (1, 4):
    for name, want in alone(config, some[i]).items():
      np.testing.assert_allclose(found[name][i], want, rtol=2e-4, atol=2e-5)


def test_clips_of_many_lengths_fill_batches_of_one_program(tmp_path):
  """Pictures of a fixed size: eight lengths, and one encoder program."""
  train = write(tmp_path, [6000 + 100 * i for i in range(8)])
  config = config_of(cache="off")
  (branch,) = config["branches"].values()
  branch["frontend"] = dict(name="eat_fbank", num_frames=64)
  stage = opened({**config, "batch_size": 4})
  compute, rows = stage.programs.encoded, []

  def counted(outputs, names, **kw):
    rows.append({n: x.shape for n, x in outputs.items()})
    return compute(outputs, names, **kw)

  stage.programs.encoded = counted
  found, _ = gathered(stage, train)
  assert rows == [{"eat_layer_1": (4, 2, 64, 128)}] * 2
  want = alone(config, train[5])["eat_layer_1"]
  np.testing.assert_allclose(
    found["eat_layer_1"][5], want, rtol=2e-4, atol=2e-5
  )


def test_branches_of_one_network_share_weights_and_passes(monkeypatch, some):
  config = config_of(("layer_1", "layer_2", "output"), cache="off")
  system = system_lib.build(config)
  assert len(sources.encoders(system.branches)) == 1
  encoder = system.branches["eat_layer_1"].encoder
  calls = []

  def counted(params, x, layers):
    calls.append(layers)
    return encoder.apply(params, x, layers)

  for name, branch in system.branches.items():
    system.branches[name] = branch._replace(
      encoder=encoder._replace(apply=counted)
    )
  params = {
    n: w.params
    for n, w in load.at_random(sources.encoders(system.branches)).items()
  }
  one = jnp.zeros((2, 6000))
  front = encode.unfitted(system.branches)
  compute = functools.partial(encode.clip_features, system.branches)
  jax.eval_shape(compute, front, params, one)
  assert calls == [("layer_1", "layer_2", "output")]


def test_a_second_run_reads_what_the_first_computed(some):
  config = config_of()
  first = opened(config)
  want, notes = gathered(first, some)
  assert first.counts == {"read": 0, "computed": 7}
  second = opened(config)
  found, same_notes = gathered(second, some)
  assert second.counts == {"read": 7, "computed": 0}
  assert notes == same_notes
  for name in want:
    np.testing.assert_array_equal(found[name], want[name])


def test_only_what_is_missing_is_computed(tmp_path, some):
  some = of_one_length(some)
  gathered(opened(config_of(("layer_1",))), some[:2])
  both = config_of(("layer_1", "layer_2"))
  plain, _ = gathered(opened({**both, "cache": "off"}), some)
  stage = opened(both)
  names = []
  compute = stage.programs.encoded

  def counted(outputs, chosen, **kw):
    names.append(tuple(chosen))
    return compute(outputs, chosen, **kw)

  stage.programs.encoded = counted
  found, _ = gathered(stage, some)
  assert set(names) == {("eat_layer_2",), ("eat_layer_1", "eat_layer_2")}
  for name in plain:
    np.testing.assert_allclose(found[name], plain[name], rtol=1e-4, atol=1e-5)
  assert gathered(opened(both), some)[0].keys() == found.keys()


@pytest.mark.parametrize(
  "change",
  [
    dict(sample_rate=8000),
    dict(random=1),
    dict(frontend=dict(name="eat_fbank", multiple=32)),
    dict(pooling=dict(name="mean_patches")),
    dict(channels=(1, 0)),
    dict(layer="layer_2"),
  ],
  ids=lambda c: next(iter(c)),
)
def test_another_setting_finds_nothing(some, change, monkeypatch):
  some = of_one_length(some)[:2]
  gathered(opened(config_of()), some)
  config = config_of(**({} if "sample_rate" not in change else change))
  (branch,) = config["branches"].values()
  if "random" in change:
    random = load.at_random
    monkeypatch.setattr(load, "at_random", lambda w: random(w, seed=1))
  elif "layer" in change:
    branch["encoder"]["layer"] = change["layer"]
  elif "sample_rate" not in change:
    branch.update(change)
  stage = opened(config)
  gathered(stage, some)
  assert stage.counts == {"read": 0, "computed": 2}


def test_what_comes_behind_the_pooling_shares_embeddings(some):
  gathered(opened(config_of()), some)
  config = config_of()
  (branch,) = config["branches"].values()
  branch |= dict(view=dict(name="near"), backend=dict(name="knn", k=2))
  stage = opened({**config, "batch_size": 3})
  gathered(stage, some)
  assert stage.counts == {"read": 7, "computed": 0}


def test_a_changed_recording_is_computed_again(some):
  gathered(opened(config_of()), some)
  wave = soundfile.read(some[2].path)[0]
  wave[100] += 0.01
  soundfile.write(some[2].path, wave, RATE)
  stage = opened(config_of())
  gathered(stage, some)
  assert stage.counts == {"read": 6, "computed": 1}


def test_modes_of_the_cache(some, tmp_path):
  kept = lambda: len(list((tmp_path / "cache").rglob("*.safetensors")))
  for mode, num in (("off", 0), ("readonly", 0), ("on", 7), ("readonly", 7)):
    gathered(opened(config_of(cache=mode)), some)
    assert kept() == num, mode
  stage = opened(config_of(cache="clear"))
  gathered(stage, some)
  assert stage.counts == {"read": 0, "computed": 7}
  assert kept() == 7


def test_notes_on_odd_clips_come_from_the_cache_too(some):
  wave = soundfile.read(some[0].path)[0]
  wave[:, 1] = 0
  soundfile.write(some[0].path, wave, RATE)
  for _ in range(2):
    _, notes = gathered(opened(config_of()), some)
    assert notes == ["0.wav: channel 1 is silent (all samples are zero)"]


def test_a_cache_that_cannot_be_written_is_a_note(some, tmp_path):
  (tmp_path / "cache").write_text("no folder")
  config = config_of()
  system = system_lib.build(config)
  loaded = load.at_random(sources.encoders(system.branches))
  stage = frozen.open_embedder(system, loaded, config)
  found, _ = gathered(stage, some)
  assert np.isfinite(found["eat_layer_1"]).all()
  notes = frozen.facts(stage, loaded)["notes"]
  assert "embeddings are not kept" in notes[0]


def test_bfloat16_is_near_float32_and_kept_apart(some):
  some = of_one_length(some)
  exact, _ = gathered(opened(config_of()), some)
  config = config_of()
  (branch,) = config["branches"].values()
  branch["encoder"]["dtype"] = "bfloat16"
  stage = opened(config)
  fast, _ = gathered(stage, some)
  assert stage.counts == {"read": 0, "computed": 4}
  one, other = exact["eat_layer_1"], fast["eat_layer_1"]
  difference = np.abs(one - other).mean() / one.std()
  assert 0 < difference < 0.02


def test_code_of_a_user_is_never_cached(some, tmp_path, monkeypatch):
  some = of_one_length(some)
  text = (
    "from asd_jax.frontends import kaldi\n"
    "from asd_jax.frontends.base import Frontend\n"
    "def front(*, num_frames: int = 64) -> Frontend:\n"
    "  return kaldi.eat_fbank(num_frames=num_frames)\n"
  )
  (tmp_path / "own_front.py").write_text(text)
  monkeypatch.syspath_prepend(tmp_path)
  config = config_of()
  (branch,) = config["branches"].values()
  branch["frontend"] = dict(name="own_front:front")
  for _ in range(2):
    stage = opened(config)
    gathered(stage, some)
    assert stage.counts == {"read": 0, "computed": 4}


def test_a_file_that_changes_meanwhile_is_not_kept(some):
  some = of_one_length(some)
  before, other = (c.path.read_bytes() for c in (some[0], some[1]))
  assert before != other
  stage = opened(config_of())
  outputs = stage.programs.outputs

  def swapped(*args, **kw):
    some[0].path.write_bytes(other)
    return outputs(*args, **kw)

  stage.programs.outputs = swapped
  gathered(stage, some[:3])
  some[0].path.write_bytes(before)
  again = opened(config_of())
  gathered(again, some[:3])
  assert again.counts == {"read": 2, "computed": 1}


def test_clearing_waits_for_the_first_use(some, tmp_path):
  gathered(opened(config_of()), some)
  stage = opened(config_of(cache="clear"))
  assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 7
  gathered(stage, some[:2])
  gathered(stage, some)  # cleared once only
  assert stage.counts == {"read": 2, "computed": 7}


def test_recordings_and_kept_embeddings_are_read_once(some, monkeypatch):
  """Of four clips with one layer, two have the other one too."""
  monkeypatch.setattr(embed, "_HELD", 1)
  some = of_one_length(some)
  reads, hashes = [], []
  get, name = cache.EmbeddingCache.get, store.file_digest

  def read(self, key):
    reads.append((id(self), key))
    return get(self, key)

  def hashed(path):
    if path.suffix == ".wav":  # not the sources, which name the code
      hashes.append(path)
    return name(path)

  monkeypatch.setattr(store, "file_digest", hashed)
  store._digest_at.cache_clear()  # other tests may know these recordings
  gathered(opened(config_of(("layer_1",))), some)
  both = config_of(("layer_1", "layer_2"))
  gathered(opened(both), some[:2])
  monkeypatch.setattr(cache.EmbeddingCache, "get", read)
  stage = opened(both)
  for _ in range(2):
    gathered(stage, some)
    assert len(reads) == len(set(reads)) == 2 * len(some)
    reads.clear()
  assert sorted(hashes) == sorted(c.path for c in some)
  assert stage.counts == {"read": 2 + 4, "computed": 2}


def test_kept_features_of_other_shapes_do_not_share_a_batch(some):
  """One branch keeps frames, whose number follows the length of the clip."""
  some = some[:3]
  config = config_of()
  (branch,) = config["branches"].values()
  frames = {**branch, "pooling": dict(name="frames")}
  frames |= dict(
    view=dict(name="near"),
    backend=dict(name="residual_mahalanobis"),
    reference="in_sample",
  )
  fixed = {**branch, "frontend": dict(name="eat_fbank", num_frames=64)}
  gathered_rows = lambda c: {
    i: {n: x[r] for n, x in part.features.items()}
    for part in opened(c).parts(
      encode.unfitted(system_lib.build(c).branches),
      some,
      advance=lambda num: None,
    )
    for r, i in enumerate(part.index)
    if i >= 0
  }
  gathered_rows({**config, "branches": {"frames": frames}})
  both = {**config, "branches": {"fixed": fixed, "frames": frames}}
  found = gathered_rows(both)
  assert sorted(found) == list(range(3))
  for i in (0, 1):
    for key, want in alone(both, some[i]).items():
      np.testing.assert_allclose(found[i][key], want, rtol=1e-3, atol=1e-4)


def test_few_clips_of_odd_lengths_wait(tmp_path, monkeypatch):
  """Four lengths in batches of two: no more than a batch's worth."""
  monkeypatch.setattr(embed, "_WAITING", 1)
  train = write(tmp_path, [6000 + 2600 * i for i in range(4)])
  stage = opened(config_of(cache="off"))
  waiting, most = [0], []
  outputs, encoded = stage.programs.outputs, stage.programs.encoded

  def came(*args, **kw):
    waiting[0] += 1
    most.append(waiting[0])
    return outputs(*args, **kw)

  def went(*args, **kw):
    waiting[0] -= 1
    return encoded(*args, **kw)

  stage.programs.outputs, stage.programs.encoded = came, went
  found, _ = gathered(stage, train)
  assert max(most) <= 2
  want = alone(config_of(cache="off"), train[3])["eat_layer_1"]
  np.testing.assert_allclose(
    found["eat_layer_1"][3], want, rtol=2e-4, atol=2e-5
  )


@pytest.mark.parametrize(
  ("encoder", "frontend", "num", "text"),
  [
    ("eat", dict(name="eat_fbank"), 399, "found 399 samples.*at least 400"),
    ("beats", dict(name="beats_fbank"), 2799, "at least 2800"),
    ("dasheng", dict(name="dasheng_mel"), 400, "at least 480"),
    (
      "eat",
      dict(name="eat_fbank"),
      RATE * 123,
      "EAT: found 12304 frames, expected at most 12288",
    ),
  ],
)
def test_a_clip_too_short_or_too_long_is_named(
  tmp_path, encoder, frontend, num, text
):
  c = common.run("embed", "smoke")
  chosen = common.add_encoder(c, encoder, arg="smoke")
  c.branches = dict(
    one=common.branch(
      frontend=frontend,
      encoder=chosen("output"),
      pooling=dict(name="mean_time_flat"),
    )
  )
  train = write(tmp_path, [num])
  system = system_lib.build(c.to_dict())
  with pytest.raises(ValueError, match=rf"0\.wav: .*{text}") as error:
    gather.check(system, train, RATE)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("rate", [RATE, 2 * RATE])
def test_embeddings_as_ludo_takes_them(rate):
  """Eight groups of CED's tokens, and the CLS of each sub-band of FISHER."""
  c = common.ludo("embed", "smoke")
  c.sample_rate = rate
  wanted = {"ced": 8, "fisher": 2} if rate == RATE else {"fisher": 4}
  c.branches = {
    name: common.ludo_branch(
      name, common.add_encoder(c, name, arg="smoke")("output")
    )
    for name in wanted
  }
  system = system_lib.build(settings.prepared(c.to_dict()))
  branches = system.branches
  trees = {
    n: traverse_util.unflatten_dict(
      {
        path: jax.ShapeDtypeStruct(shape, jnp.float32)
        for path, shape in branches[n].encoder.about.shapes().items()
      },
      sep="/",
    )
    for n in branches
  }
  # Ten seconds count, whatever the clip and its rate.
  wave = jax.ShapeDtypeStruct((2, 12 * rate), jnp.float32)
  run = functools.partial(
    encode.clip_features, branches, encode.unfitted(branches)
  )
  found = jax.eval_shape(run, trees, wave)
  assert {n: x.shape for n, x in found.items()} == {
    n: (2, num * branches[n].encoder.about.width) for n, num in wanted.items()
  }


@pytest.mark.parametrize(
  ("change", "text"),
  [
    (dict(layer="layer_9"), "found 'layer_9', expected one of .*'layer_1'"),
    (dict(size="huge"), "found size 'huge', expected one of .*'large'"),
    (dict(dtype="float8"), "found dtype 'float8'"),
    (dict(lyer="output"), r"found \['lyer'\]"),
    (dict(checkpoint=5), "checkpoint: found 5, expected a path"),
  ],
)
def test_a_wrong_encoder_setting_is_refused(change, text):
  config = config_of()
  (branch,) = config["branches"].values()
  branch["encoder"] |= change
  with pytest.raises(ValueError, match=text):
    system_lib.build(config)


def test_only_frozen_encoders_have_a_layer():
  config = config_of()
  (branch,) = config["branches"].values()
  branch["encoder"] = dict(name="identity", layer="output")
  with pytest.raises(ValueError, match=r"found \['layer'\], which only"):
    system_lib.build(config)


def test_an_encoder_inside_others_is_on_the_device_once():
  c = common.run("shared", "smoke")
  encoders = {
    "alone": common.add_encoder(c, "eat", arg="smoke"),
    "inside": common.add_noise_aware(c, "na_eat", training=0, arg="smoke"),
  }
  c.branches = {
    name: common.branch(
      channels=(0, 1),
      frontend=dict(name="eat_fbank"),
      encoder=encoder("output"),
    )
    for name, encoder in encoders.items()
  }
  config = {**c.to_dict(), "cache": "off"}
  system = system_lib.build(config)
  random = load.at_random(sources.encoders(system.branches))
  found = frozen.open_embedder(system, random, config).programs.weights
  inside = jax.tree.leaves(found["inside"]["base"])
  alone = jax.tree.leaves(found["alone"])
  assert all(x is y for x, y in zip(inside, alone, strict=True))
  assert jax.tree.leaves(found["inside"]["layers"])
