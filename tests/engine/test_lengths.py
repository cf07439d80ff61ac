"""Clips of different lengths share programs, and keep their own scores."""

import functools

import jax
import numpy as np
import pytest
import soundfile

from asd_jax.data import clips, decode
from asd_jax.engine import lengths, programs, session
from asd_jax.engine import system as system_lib
from asd_jax.frontends import dif, htk_mel, kaldi, linear, log_mel
from asd_jax.ops import pooling, pooling_parts
from asd_jax.ops.masks import Ragged
from configs import common
from tests import quick

RATE, MOST = 16_000, 9000
FRONTENDS = {
  "log_mel": log_mel.log_mel(num_mels=8),
  "eat": kaldi.eat_fbank(),
  "eat_picture": kaldi.eat_fbank(num_frames=48),
  "eat_seconds": kaldi.eat_fbank(num_samples=7000, num_frames=48),
  "beats": kaldi.beats_fbank(),
  "dasheng": htk_mel.dasheng_mel(),
  "audiomaepp": htk_mel.audiomaepp_mel(),
  "m2d": htk_mel.m2d_mel(),
  "fisher": linear.fisher_spectrum(),
  "dif": dif.dif(features="all"),
}


def noise(num, *, channels=2, seed=0):
  wave = np.random.default_rng(seed).normal(size=(channels, num)) * 0.1 + 0.02
  # Louder at the end: what lies there counts.
  return (wave * np.linspace(1.0, 3.0, num)).astype(np.float32)


@pytest.mark.parametrize("name", FRONTENDS)
def test_a_part_is_heard_as_if_it_were_all(name):
  front, num = FRONTENDS[name], 7011
  wave = noise(num)
  want = np.asarray(quick.jit(front.apply)({}, wave))
  room = np.pad(wave, [(0, 0), (0, MOST - num)])
  got = quick.jit(front.apply_part)({}, room, np.int32(num))
  if isinstance(got, Ragged):
    assert np.isfinite(got.rows).all()
    assert got.num == want.shape[1] == front.num_frames(num)
    got = got.rows[:, : int(got.num)]
  np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def test_a_part_is_pooled_as_if_it_were_all():
  given = {}
  for name in pooling_parts.PARTS:
    grid = np.random.default_rng(0).normal(size=(7, 10, 4)).astype(np.float32)
    if name in ("mean_std", "mean_square", "mean_frame"):
      grid = grid[..., 0]
    full = np.concatenate([grid, 9.0 + 0 * grid])
    given[name] = (grid, grid if name in pooling.OF_CLS else full)

  @jax.jit
  def run(given, num):
    return {
      name: (pooling.POOLINGS[name](grid), pooling_parts.PARTS[name](full, num))
      for name, (grid, full) in given.items()
    }

  assert given
  for name, (want, got) in run(given, np.int32(7)).items():
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6, err_msg=name)


def branches(**stages):
  config = common.run("lengths").to_dict()
  config["branches"] = {"one": common.branch(**stages)}
  return system_lib.build(config).branches


def test_a_place_follows_from_the_training_clips_and_the_own_length():
  own = branches()
  alike = lengths.rooms(own, lengths.Lengths(50_000, 50_000))
  assert alike(50_000) == decode.own_room(50_000)
  assert alike(40_000).shared
  room = lengths.rooms(own, lengths.Lengths(20_000, 80_000))
  for num in (12_000, 20_001, 30_000, 79_999, 80_000, 80_001, 700_000):
    size, most, shared = room(num)
    assert shared
    assert num <= most <= size
    assert most < 1.5 * num
    assert size < 4.1 * num
  assert room(80_000)[:2] == (80_000, 80_000)
  assert room(30_000).size == 80_000  # one program of the front end


def test_stages_that_need_whole_clips_keep_a_program_for_each_length():
  known = lengths.Lengths(20_000, 80_000)
  (one,) = branches().values()
  odd = one._replace(detect=one.detect._replace(pool_part=None))
  filtered = branches(
    channels=(0, 1),
    denoise=dict(name="spectral", denoiser=dict(name="ref_sub")),
  )
  for other in ({"one": odd}, filtered):
    assert lengths.rooms(other, known)(30_000) == decode.own_room(30_000)


def test_rows_that_are_no_clips_cost_nothing():
  calls = []

  def counted(x):
    jax.debug.callback(lambda: calls.append(0))
    return x + 1.0

  turns = functools.partial(programs._in_turn, counted)
  rows = np.arange(8.0, dtype=np.float32)
  found = jax.jit(turns)(np.arange(8) < 3, rows)
  jax.effects_barrier()
  assert len(calls) == 3
  np.testing.assert_array_equal(found, [1, 2, 3, 1, 1, 1, 1, 1])


SYSTEMS = {
  "log_mel": dict(
    frontend=dict(name="log_mel", num_mels=8),
    pooling=dict(name="mean_std"),
    transform=dict(name="standardise"),
  ),
  "eat": dict(
    frontend=dict(name="eat_fbank"),
    encoder=("eat", "output"),
    pooling=dict(name="mean_patches"),
  ),
  "beats": dict(
    frontend=dict(name="beats_fbank"),
    encoder=("beats", "layer_1"),
    pooling=dict(name="mean_time_flat"),
  ),
  "autoencoder": dict(
    frontend=dict(name="log_mel", num_mels=8),
    encoder=dict(
      name="autoencoder",
      num_hidden=8,
      recipe=dict(batch_size=32, num_epochs=1),
    ),
    pooling=dict(name="mean_square"),
    backend=dict(name="embedding"),
    reference="in_sample",
  ),
}


@pytest.mark.usefixtures("one_block")
def test_a_score_in_company_is_that_of_the_clip_alone(tmp_path, monkeypatch):
  monkeypatch.setenv("ASD_JAX_CACHE", str(tmp_path / "cache"))
  for split, sizes in (
    ("normal", [6000, 6700, 7411, 8200, 9000]),
    ("test", [6000, 6311, 7777, 8999, 9000, 6311]),
  ):
    (tmp_path / split).mkdir()
    for i, num in enumerate(sizes):
      wave = noise(num, seed=len(split) * 10 + i).T
      soundfile.write(tmp_path / split / f"{i}.wav", wave, RATE)
  c = common.run("lengths", "smoke")
  c.batch_size, c.cache, c.threshold.folds = 4, "off", 0
  c.data_dir, c.synthetic, c.output_dir = "", dict(), str(tmp_path / "out")
  c.training_dir = ""
  c.normal, c.test = str(tmp_path / "normal"), str(tmp_path / "test")
  own = {}
  for name, stages in SYSTEMS.items():
    if isinstance(stages.get("encoder"), tuple):
      family, layer = stages["encoder"]
      encoder = common.add_encoder(c, family, arg="smoke")(layer)
      stages = {**stages, "encoder": encoder}
    own[name] = common.branch(**stages)
  c.branches = own
  machine = clips.read_plain(tmp_path / "normal", tmp_path / "test", name="m")
  opened = session.open(c.to_dict())
  section = opened.fit("m", machine.train).section
  together = opened.score(section, machine.test).scores
  for i, clip in enumerate(machine.test):
    alone = opened.score(section, [clip]).scores
    for name in SYSTEMS:
      np.testing.assert_allclose(
        alone.members[name][0], together.members[name][i], rtol=1e-6
      )
