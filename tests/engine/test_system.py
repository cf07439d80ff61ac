import functools
import importlib.util
import inspect
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.encoders import load as weights
from asd_jax.engine import detect, encode, settings, sources, stages
from asd_jax.engine import system as system_lib
from asd_jax.engine import train as train_lib
from asd_jax.engine.normals import Clips, Normals
from asd_jax.runs import config_file
from asd_jax.training import reconstruction
from configs import encoder_zoo
from tests import quick

pytestmark = pytest.mark.usefixtures("one_block")
CONFIGS = [
  config_file.data_folder("configs") / f"{name}.py"
  for name in config_file.systems()
]


def load(stem, arg="smoke"):
  path = next(p for p in CONFIGS if p.stem == stem)
  spec = importlib.util.spec_from_file_location(stem, path)
  mod = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(mod)
  return mod.get_config(arg)


def small(stem):
  """A smoke config with few mel bands: networks are as wide as they."""
  config = load(stem)
  for branch in config.branches.values():
    if branch.encoder.name.endswith("autoencoder"):
      branch.frontend.num_mels = 16
  return config


def waves(num, samples=6000, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(-9000, 9000, (num, 2, samples)).astype(np.int16)


def params_of(system):
  made = weights.at_random(sources.encoders(system.branches))
  return {n: w.params for n, w in made.items()}


def features(system):
  return functools.partial(encode.clip_features, system.branches)


def compiled_features(system):
  return jax.jit(jax.vmap(features(system), in_axes=(None, None, 0)))


def untrained(system, given):
  """Networks as they are drawn; what they learn is tested where it matters."""
  trained = {}
  for name, branch in system.branches.items():
    if train_lib.trains(branch):
      encoder, seeds = branch.encoder, system.seeds[name]
      width = given[name].shape[-1]
      mean = jnp.zeros(encoder.about.num_context * width)
      init = jax.jit(jax.vmap(encoder.init, in_axes=(0, None, None)))
      drawn = init(train_lib.seed_keys(seeds), mean, mean + 1.0)
      eye = jnp.broadcast_to(jnp.eye(width), (len(seeds), 2, width, width))
      none = jnp.zeros((len(seeds), 0))
      trained[name] = reconstruction.Trained(*drawn, eye, none, none)
  return trained


def normals_of(system, config, groups, compute, *, train):
  """Training clips of one or more lengths, and networks."""
  branches = system.branches
  front = encode.unfitted(branches)
  for stage in encode.stages_of(branches):
    one = functools.partial(encode.measure, branches, stage, front)
    sums = [jax.jit(jax.vmap(one))(g) for g in groups]
    total = jax.tree.map(lambda *x: sum(y.sum(0) for y in x), *sums)
    front = encode.fit_front(branches, stage, front, total)
  params = params_of(system)
  feats = tuple(compute(front, params, g) for g in groups)
  num = sum(len(g) for g in groups)
  rows = jnp.arange(num)
  normals = Normals(front, feats, rows, rows >= num - 4, {}, num_target=4)
  if not train:
    return normals.replace(trained=untrained(system, feats[0]))
  normals, _ = train_lib.train(
    train_lib.trainers(system),
    system,
    normals,
    config,
    folder=None,
    on_epoch=lambda *a: None,
  )
  return normals


def unfitted(stem, seeds=(1,), groups=None, change=lambda c: c, train=False):
  config = small(stem)
  config.seeds = seeds
  config = change(config).to_dict()
  system = system_lib.build(config)
  compute = compiled_features(system)
  normals = normals_of(
    system, config, groups or [waves(12)], compute, train=train
  )
  return system, normals


def fitted(*args, **kwargs):
  system, normals = unfitted(*args, **kwargs)
  state, own = system_lib.compiled_fit(system)(system.hypers, normals)
  return system, normals, state, own


def score_of(system, state, wave):
  x = features(system)(state["front"], params_of(system), wave)
  return system_lib.score(system, system.hypers, state, x)


def features_of(system, state, wave):
  """Of one clip, in one program and not one for every operation."""
  return jax.jit(features(system))(state["front"], params_of(system), wave)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
@pytest.mark.parametrize("arg", ["", "smoke"])
def test_every_config_builds_and_locks(path, arg):
  config = load(path.stem, arg).lock()
  system = system_lib.build(config)
  assert set(system.branches) == set(config.branches)
  assert all(isinstance(x, float) for x in jax.tree.leaves(system.hypers))
  with pytest.raises((AttributeError, KeyError), match="seeds"):
    config.seedz = (1,)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_a_config_says_how_to_run_itself(path):
  text = path.read_text()
  assert f"--config=configs/{path.name}" in text


def blank_normals(system, num_samples):
  """Two silent clips, every stage and network at its start."""
  branches = system.branches
  wave = jnp.zeros((2, encode.num_channels(branches), num_samples), jnp.int16)
  front = encode.unfitted(branches)
  for stage in encode.stages_of(branches):
    sums = encode.measure(branches, stage, front, wave[0])
    front = encode.fit_front(branches, stage, front, sums)
  weights = {
    n: encoder.init(jax.random.key(0))
    for n, (encoder, _) in sources.encoders(branches).items()
  }
  one = lambda w: encode.clip_features(branches, front, weights, w)
  feats = jax.vmap(one)(wave)
  trained = {}
  for name, branch in branches.items():
    if branch.encoder.scope == "machine":
      keys = train_lib.seed_keys(system.seeds[name])
      width = feats[name].shape[-1]
      mean = jnp.zeros(branch.encoder.about.num_context * width)
      init = jax.vmap(branch.encoder.init, in_axes=(0, None, None))
      cov = jnp.zeros((len(keys), 2, width, width))
      trained[name] = reconstruction.Trained(
        *init(keys, mean, mean), cov, cov, cov
      )
  rows = jnp.arange(2)
  return Normals(front, (feats,), rows, rows > 0, trained, num_target=1)


def trace(config):
  """From samples to a score, shapes only; compiling costs a minute a config."""
  system = system_lib.build(config.to_dict())
  normals = jax.eval_shape(lambda: blank_normals(system, 6000))
  fit = functools.partial(system_lib.fit, system)
  state = jax.eval_shape(fit, system.hypers, normals)
  assert set(state["branches"]) == set(system.branches)
  clip = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), normals.features[0]
  )
  scored = functools.partial(system_lib.scores, system)
  scores = jax.eval_shape(scored, system.hypers, state, clip)
  assert scores.fused.shape == ()
  assert scores.fused.dtype == jnp.float32
  numbers = [len(seeds) for seeds in system.seeds.values()]
  num = sum(numbers) if system.lists_members else max(numbers)
  assert scores.seeds.shape == (num,)


# Made of branches that other configs have.
AGAIN = (
  "dongyuan_system3",
  "dongyuan_system4",
  "fusion_best",
  "katech_system4",
  "katech_table4",
  "konica_system2",
  "merl_system1",
  "merl_system3",
  "merl_system4",
)


@pytest.mark.parametrize(
  "path",
  [
    pytest.param(p, marks=pytest.mark.full if p.stem in AGAIN else ())
    for p in CONFIGS
  ],
  ids=lambda p: p.stem,
)
def test_every_config_traces_from_samples_to_a_score(path):
  trace(load(path.stem))


def test_families_that_no_system_has_trace_from_samples_to_a_score():
  zoo = [
    encoder_zoo.get_config(f"{name}_{encoder_zoo.SIZES[name][0]},near,smoke")
    for name in ("audiomae", "ced", "fisher", "m2d_clap")
  ]
  config = zoo[0]
  for other in zoo[1:]:
    config.branches.update(other.branches)
  assert len(config.branches) == len(zoo)
  trace(config)


# Trained, frozen and no encoders, with most kinds of stage; the other configs
# run with `-m full`.
KINDS = ("baseline_mahala", "katech_system1", "konica_system4", "ludo_system1")


# Optimised, for vectors are what could make rows of a batch differ.
@pytest.mark.optimised
@pytest.mark.parametrize(
  "path",
  [
    pytest.param(p, marks=() if p.stem in KINDS else pytest.mark.full)
    for p in CONFIGS
  ],
  ids=lambda p: p.stem,
)
def test_a_clip_alone_has_the_bytes_it_has_in_any_batch(path):
  config = small(path.stem)
  if not config.members:  # which have seeds of their own
    config.seeds = (1, 2)
  config = config.to_dict()
  system = system_lib.build(config)
  compute = compiled_features(system)
  # What they are scored by may be compiled in less time.
  with mock.patch.object(jax, "jit", quick.jit):
    normals = normals_of(system, config, [waves(9)], compute, train=False)
    state, own = system_lib.compiled_fit(system)(system.hypers, normals)
  assert np.isfinite(own).all()
  params, test = params_of(system), waves(9, seed=1)
  one = functools.partial(system_lib.score, system, system.hypers, state)
  score = jax.jit(jax.vmap(one))
  run = lambda w: np.asarray(score(compute(state["front"], params, w)))
  together = run(test)
  assert np.isfinite(together).all()
  for i in range(3):
    alone = run(np.repeat(test[i : i + 1], 9, axis=0))
    assert alone[0].tobytes() == together[i].tobytes()
  back = run(test[::-1])[::-1]
  assert back.tobytes() == together.tobytes()


@pytest.mark.parametrize("stem", ["plain_knn", "plain_mahalanobis"])
def test_a_clip_without_a_batch_scores_as_in_one(stem):
  system, _, state, _ = fitted(stem)
  test = waves(3, seed=1)
  one = lambda w: score_of(system, state, w)
  together = jax.jit(jax.vmap(one))(test)
  np.testing.assert_allclose(jax.jit(one)(test[1]), together[1], rtol=1e-5)


def test_scores_do_not_depend_on_the_order_of_training_clips():
  clips = waves(12)
  system, normals, state, _ = fitted("plain_knn", groups=[clips])
  perm = np.random.default_rng(0).permutation(12)
  feats = compiled_features(system)(normals.front, {}, clips[perm])
  other = normals.replace(features=(feats,), order=jnp.argsort(perm))
  state2, _ = system_lib.compiled_fit(system)(system.hypers, other)
  for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(state2), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("stem", ["baseline_mahala", "plain_mahalanobis"])
def test_training_clips_may_differ_in_length(stem):
  system, normals, state, own = fitted(
    stem, groups=[waves(8), waves(5, samples=7000, seed=3)], train=True
  )
  assert own.shape == (13,)
  wave = waves(1, samples=7000, seed=3)[0]
  # Training clip 8 is the first of the second length; it scores as it did.
  got = jax.jit(lambda w: score_of(system, state, w))(wave)
  np.testing.assert_allclose(got, own[8], rtol=1e-4)
  assert normals.is_target.shape == (13,)


def two_branches(config):
  config.branches.other = config.branches.log_mel.copy_and_resolve_references()
  config.branches.other.weight = 3.0
  config.branches.other.backend.k = 2
  return config


def test_a_swept_weight_equals_a_loop_and_traces_once():
  system, _, state, _ = fitted("plain_knn", change=two_branches)
  x = features_of(system, state, waves(1, seed=1)[0])
  traces = []

  def score(weight):
    traces.append(1)
    h = {
      **system.hypers,
      "weight": {**system.hypers["weight"], "other": weight},
    }
    return system_lib.score(system, h, state, x)

  values = jnp.linspace(0.0, 4.0, 7)
  swept = jax.jit(jax.vmap(score))
  got = swept(values)
  swept(values + 1.0)
  assert len(traces) == 1
  one = jax.jit(score)
  np.testing.assert_allclose(got, [one(v) for v in values], rtol=1e-6)
  assert got[0] != got[-1]


def test_floats_of_residual_scores_are_swept_in_one_program():
  system, normals = unfitted("katech_system1", seeds=(1, 2))
  assert system.hypers["ada_sub"]["backend"].keys() == {
    "alpha",
    "percentile",
    "ridge",
    "shrinkage",
  }
  x = features_of(system, {"front": normals.front}, waves(1, seed=1)[0])
  traces = []

  def score(change):
    traces.append(1)
    branch = system.hypers["ada_sub"]
    swept = {**branch, "backend": {**branch["backend"], **change}}
    h = {**system.hypers, "ada_sub": swept}
    return system_lib.score(system, h, system_lib.fit(system, h, normals), x)

  grid = dict(
    alpha=jnp.array([0.2, 0.9, 0.2, 0.2, 0.2]),
    percentile=jnp.array([95.0, 95.0, 50.0, 95.0, 95.0]),
    ridge=jnp.array([1e-3, 1e-3, 1e-3, 0.5, 1e-3]),
    shrinkage=jnp.array([0.5, 0.5, 0.5, 0.5, 0.0]),
  )
  swept = jax.jit(jax.vmap(score))
  got = np.asarray(swept(grid))
  swept(jax.tree.map(lambda v: 0.9 * v, grid))
  assert len(traces) == 1
  one = jax.jit(score)
  want = [one(jax.tree.map(lambda v: v[i], grid)) for i in range(5)]  # noqa: B023
  np.testing.assert_allclose(got, want, rtol=1e-3)
  assert len(set(got.round(4).tolist())) == 5


def test_a_denoiser_before_any_front_end_works_on_waveforms():
  def change(config):
    config.branches.log_mel.channels = (0, 1)
    config.branches.log_mel.denoise = dict(
      name="spectral", denoiser=dict(name="ada_sub", floor=0.2)
    )
    return config

  system, _, state, _ = fitted("plain_knn", change=change)
  transfer = state["front"]["log_mel"]["denoise"]["transfer"]
  assert transfer.shape == (513,)
  wave = waves(1, seed=1)[0]
  louder = wave.copy()
  louder[1] *= 3
  score = jax.jit(lambda w: score_of(system, state, w))
  assert score(wave) != score(louder)


def test_seed_scores_are_the_single_seeds_and_average_to_the_score():
  system, _, state, _ = fitted("baseline_mse", seeds=(1, 2, 3))
  wave = waves(1, seed=1)[0]
  x = features_of(system, state, wave)
  scored = jax.jit(functools.partial(system_lib.scores, system, system.hypers))
  score, seeds, _ = scored(state, x)
  assert seeds.shape == (3,)
  np.testing.assert_allclose(score, seeds.mean(), rtol=1e-6)
  one = jax.tree.map(lambda a: a[1:2], state["branches"])
  one = {**state, "branches": one}
  np.testing.assert_allclose(scored(one, x).fused, seeds[1], rtol=1e-5)


@pytest.mark.parametrize("bank", ["memmixup", "memmixup_rows"])
def test_residual_view_with_mixed_rows_and_prototypes(bank):
  def change(config):
    config.branches.log_mel.update(
      channels=(0, 1),
      transform=dict(name="identity"),
      view=dict(name="residual", alpha=0.5),
      key=dict(name="projection_residual"),
      bank=dict(name=bank, lam=0.9),
      wrappers=(dict(name="prototypes", num=4, projection_dim=8),),
    )
    return config

  system, normals, state, own = fitted("plain_knn", change=change)
  x = normals.features[0]["log_mel"]
  emb = np.asarray(x[:, 0] - 0.5 * x[:, 1], np.float64)
  mixed = 0.9 * emb[8:, None] + 0.1 * emb[None, :8]
  rows = np.concatenate([emb, mixed.reshape(-1, emb.shape[1])])
  query = np.asarray(emb[3] + 0.3, np.float64)
  full = np.linalg.norm(rows - query, axis=1).min()
  chosen = np.asarray(state["branches"]["log_mel"]["backend"]["chosen"].group)
  assert chosen.shape == (1, 4)
  proto = np.linalg.norm(emb[chosen[0]] - query, axis=1).min()
  wave = jnp.stack([jnp.asarray(query, jnp.float32), jnp.zeros(len(query))])
  score = functools.partial(system_lib.score, system, system.hypers)
  got = jax.jit(score)(state, {"log_mel": wave})
  np.testing.assert_allclose(got, (full + proto) / 2, rtol=1e-4)
  assert own.shape == (12,)
  assert (np.asarray(own) > 0).all()


def test_far_channel_is_used_where_channels_say_so():
  change = lambda c: c.branches.log_mel.update(dict(channels=(1,))) or c
  system, _, state, _ = fitted("plain_knn", change=change)
  assert encode.num_channels(system.branches) == 2
  wave = waves(1, seed=1)[0]
  score = jax.jit(lambda w: score_of(system, state, w))
  near_silent = wave.copy()
  near_silent[0] = 0
  assert score(near_silent) == score(wave)


def test_crops_average_the_embeddings_of_parts_of_a_clip():
  def change(config):
    config.branches.log_mel.tta = dict(name="crops", num=3, shortest=0.5)
    return config

  system, _, state, _ = fitted("plain_knn", change=change)
  wave = waves(1, seed=1)[0]
  found = features_of(system, state, wave)["log_mel"]
  crops = system.branches["log_mel"].crops
  whole = system.branches["log_mel"]._replace(crops=None)
  compute = functools.partial(encode.clip_features, {"log_mel": whole})
  plain = jax.jit(compute)(state["front"], {}, wave)["log_mel"]
  assert found.shape == plain.shape
  near = jnp.asarray(wave[:1], jnp.float32) / 32_768
  front = system.branches["log_mel"].front.frontend
  pool = system.branches["log_mel"].detect.pool

  @jax.jit
  def averaged(near):
    each = [pool(front.apply({}, x)[0])[None] for x in crops.cut(near)]
    return crops.join(jnp.stack(each))

  want = averaged(near)
  np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
  assert np.abs(np.asarray(found - plain)).max() > 1e-3
  config = load("baseline_mse").to_dict()
  config["branches"]["autoencoder"]["tta"] = dict(name="crops")
  with pytest.raises(ValueError, match="tta: found crops"):
    system_lib.build(config)


def test_a_branch_counts_only_for_the_machines_that_it_is_for():
  def change(config):
    two_branches(config).branches.other.when = "attributes"
    return config

  system, normals, state, own = fitted("plain_knn", change=change)
  x = features_of(system, state, waves(1, seed=1)[0])
  scores = functools.partial(system_lib.scores, system, system.hypers)
  both = jax.jit(scores)(state, x)
  mean = (both.members["log_mel"] + 3.0 * both.members["other"]) / 4.0
  np.testing.assert_allclose(both.fused, mean[0], rtol=1e-6)
  bare = normals.replace(has_attributes=False)
  state, other = system_lib.compiled_fit(system)(system.hypers, bare)
  one = jax.jit(scores)(state, x)
  np.testing.assert_allclose(one.fused, both.members["log_mel"][0], rtol=1e-6)
  np.testing.assert_allclose(one.seeds, one.fused[None], rtol=1e-6)
  assert np.abs(np.asarray(own - other)).max() > 1e-3


def test_a_bank_knows_whether_the_backend_compares_directions(monkeypatch):
  seen = []
  spy = lambda bank: seen.append(bank.unit) or bank
  monkeypatch.setitem(stages.TABLES["bank"], "spy", spy)
  x = jnp.ones((3, 1, 4))
  each = lambda fn: jax.vmap(fn)(x)
  clips = Clips(each, lambda *_: None, x[0], jnp.zeros(3, bool), None, 0)
  for metric in ("half_cosine", "euclidean"):
    branch, h = system_lib.build_branch(
      "one",
      dict(bank=dict(name="spy"), backend=dict(name="knn", metric=metric)),
    )
    jax.eval_shape(lambda: detect.fit(branch, h, clips, None))  # noqa: B023
  assert seen == [True, False]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (dict(view=dict(name="nera")), r"view.*'nera'.*near"),
    (dict(backend=dict(name="knn", kk=1)), r"backend knn.*'kk'.*metric"),
    (dict(colour="red"), r"colour"),
    (dict(reference="guess"), r"'guess'.*loo"),
    (dict(when="sometimes"), r"'sometimes'.*attributes"),
    (dict(wrappers=("per_band",)), r"per_band.*per_frequency"),
    (dict(backend=dict(name="mahalanobis")), r"leave-one-out"),
    (dict(backend=dict(name="knn", k=0)), r"at least 1"),
    (
      dict(frontend=dict(name="log_mel", denoiser=dict(name="ada_sub"))),
      r"frontend needs 2 channels.*found 1",
    ),
    (
      dict(frontend=dict(name="log_mel", denoiser=dict(name="sub"))),
      r"frontend\.denoiser.*'sub'.*ada_sub",
    ),
    (
      dict(denoise=dict(name="spectral", denoiser=dict(name="ada_sub", lo=1))),
      r"denoise\.denoiser ada_sub.*'lo'.*oversubtraction|low",
    ),
    (dict(backend=dict(name="residual_mahalanobis")), r"leave-one-out"),
    (dict(pooling=dict(name="frames")), r"found all frames"),
    (dict(wrappers=("prototypes",)), r"without keys.*projection_residual"),
    (
      dict(
        bank=dict(name="memmixup"),
        backend=dict(name="knn", metric="cosine"),
      ),
      r"memmixup_rows",
    ),
    (dict(view=dict(name="residual", alpha="x")), r"alpha.*'x'.*number"),
    # What would change nothing.
    (
      dict(view=dict(name="residual")),
      r"view: found 'residual'.*\(0,\), the only one.*channels=\(0, 1\)",
    ),
    (
      dict(
        channels=(0, 1),
        frontend=dict(name="log_mel", denoiser=dict(name="ada_sub")),
        view=dict(name="projection_residual"),
      ),
      r"view: found 'projection_residual'.*merged into one",
    ),
    (dict(key=dict(name="projection_residual")), r"key: .*the only one"),
    (dict(pooling=dict(name="cls")), "encoder identity has no CLS token"),
    (
      dict(channels=(0, 1), key=dict(name="projection_residual")),
      r"key: .*'prototypes'.*expected 'none'",
    ),
  ],
)
def test_bad_configs_are_refused_before_any_data(change, message):
  config = load("plain_knn").to_dict()
  config["branches"]["log_mel"] |= change
  with pytest.raises(ValueError, match=message):
    system_lib.build(config)


def test_a_precision_that_nothing_computes_in_is_refused():
  config = {**load("plain_knn").to_dict(), "precision": "bfloat16"}
  with pytest.raises(ValueError, match="precision.*bfloat16.*float32"):
    settings.prepared(config)


# All front ends that have no rate among their settings.
OF_ONE_RATE = [
  name
  for name, fn in stages.TABLES["frontend"].items()
  if stages.RATE not in inspect.signature(fn).parameters
]


def at_rate(frontend, rate, encoder="identity"):
  config = load("plain_knn").to_dict()
  branch = config["branches"]["log_mel"]
  branch["frontend"] = frontend
  branch["encoder"] = dict(name=encoder)
  if encoder != "identity":
    branch["encoder"]["size"] = "smoke"
  return settings.prepared({**config, "sample_rate": rate})


@pytest.mark.parametrize("name", OF_ONE_RATE)
def test_a_sample_rate_that_a_front_end_is_not_made_for_is_refused(name):
  frontend = dict(name=name)
  assert at_rate(frontend, 16_000)["branches"]["log_mel"]["frontend"] == (
    frontend
  )
  with pytest.raises(ValueError, match="sample_rate") as error:
    at_rate(frontend, 32_000)
  told = str(error.value)
  assert told.startswith("config: sample_rate: found 32000 Hz, expected 16000")
  assert "frontend of branch log_mel" in told
  assert "\n" not in told


def test_front_ends_with_a_rate_follow_that_of_the_run():
  for rate in (16_000, 48_000):
    front = at_rate(dict(name="log_mel"), rate)["branches"]["log_mel"]
    # As ever at 16 kHz, so that what was kept is found.
    want = {} if rate == 16_000 else {"sample_rate": rate}
    assert front["frontend"] == dict(name="log_mel") | want
  with pytest.raises(ValueError, match="found 48000 Hz, expected 8000 Hz"):
    at_rate(dict(name="log_mel", sample_rate=8000), 48_000)
  # Bands that fit an encoder, of recordings that it did not learn from.
  with pytest.raises(ValueError, match="16000 Hz, which the encoder of branch"):
    at_rate(dict(name="log_mel", num_mels=64), 8000, encoder="dasheng")


def test_a_bad_fusion_or_an_empty_system_is_refused():
  config = load("plain_knn").to_dict()
  with pytest.raises(ValueError, match="weighted_mean"):
    system_lib.build({**config, "fusion": {"name": "vote"}})
  with pytest.raises(ValueError, match="branches"):
    system_lib.build({**config, "branches": {}})


def test_a_misspelt_recipe_key_is_named():
  config = load("baseline_mse").to_dict()
  encoder = config["branches"]["autoencoder"]["encoder"]
  encoder["recipe"] = {"num_epoch": 3}
  with pytest.raises(ValueError, match=r"num_epoch.*num_epochs"):
    system_lib.build(config)
