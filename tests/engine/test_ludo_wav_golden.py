"""Whole systems of LUDO on real recordings, from the waveform to the csv.

Runs where ASD_JAX_REALMINI names the folder of the recordings. The weights
are the tiny ones of the encoders' reference files.
"""

import csv
import functools
import io
import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest

from asd_jax.data import audio
from asd_jax.encoders import family as family_lib
from asd_jax.encoders import zoo
from asd_jax.frontends import htk_mel, kaldi
from asd_jax.ops import pooling
from asd_jax.weights import rules
from tests.conftest import GOLDENS
from tests.engine import test_ludo_golden as ludo

pytestmark = [pytest.mark.golden, pytest.mark.slow]

EMBEDDING, SCORE = 2e-5, 5e-5
BATCH = 8
FAMILIES = {n: zoo.FAMILIES[n] for n in ("sslam", "beats", "dasheng")}
# Where a family's reference file has what its official file has beside the
# weights.
BESIDE = {
  "sslam": lambda c: {"cfg": {"model": c}},
  "beats": lambda c: {"cfg": c},
  "dasheng": lambda c: {"config": c["model"]},
}
FRONTENDS = {
  "sslam": lambda num: kaldi.eat_fbank(num_samples=num, num_frames=1024),
  "beats": lambda num: kaldi.beats_fbank(num_samples=num),
  "dasheng": lambda num: htk_mel.dasheng_mel(num_samples=num),
}


def every_clip_alone(run):
  """DaSheng's published front end takes the largest value of a batch."""
  encoders = {m["encoder"] for m in run.members.values()}
  return "dasheng" not in encoders or run.config["batch_size"] == 1


RUNS = [run for run in ludo.RUNS if every_clip_alone(run)]
MEMBERS = [
  pytest.param(run, member, id=f"{run}-{member}")
  for run in RUNS
  for member in run.members
  if run.pairs(member) is not None
]


# Metrics of the residuals of every block, which have no variants.
LAYERWISE = [
  pytest.param(run, family, id=f"{run}-{family}")
  for run in ludo.RUNS
  for family in FAMILIES
  if f"layerwise/{family}" in run
  and (family != "dasheng" or run.config["batch_size"] == 1)
]


def recordings(run):
  folder = os.environ.get("ASD_JAX_REALMINI", "")
  if not folder or not run.path.stem.endswith(Path(folder).resolve().name):
    pytest.skip("the recordings are not here (ASD_JAX_REALMINI)")
  return Path(folder) / run.machine


@functools.cache
def encoder_of(family):
  """The encoder and its weights."""
  with np.load(GOLDENS / f"encoders/{family}.npz") as file:
    z = dict(file)
  mark = "param/"
  weights = {k[len(mark) :]: z[k] for k in z if k.startswith(mark)}
  known = FAMILIES[family]
  found = rules.official(weights, known.names, title=known.title)
  beside = BESIDE[family](json.loads(str(z["config_json"])))
  params, settings = family_lib.port(known, found, beside)
  return family_lib.make(known, settings), params


def layer_of(run, member):
  """Name of the layer; the last one is what the network returns."""
  block = run.members[member]["block_1_based"]
  last = block == run.members[member]["blocks"]
  return "output" if last else f"layer_{block}"


@functools.cache
def embedder(family, num_samples):
  """`[B, 2, S]` waveforms to `[B, 2, F D]` by layer."""
  encoder, params = encoder_of(family)
  front, layers = FRONTENDS[family](num_samples), encoder.about.layers[1:]

  def one(wave):
    found = encoder.apply(params, front.apply({}, wave), layers)
    pooled = lambda grid: pooling.mean_time(grid).reshape(-1)
    return {n: jax.vmap(pooled)(tokens.grid) for n, tokens in found.items()}

  return jax.jit(jax.vmap(one))


@functools.cache
def waves(folder, names, num_samples):
  """`[n, 2, S]`, shorter clips filled with zeros."""
  clips = [audio.to_float(audio.read(folder / name)[0]) for name in names]
  clips = [c[:, :num_samples] for c in clips]
  longest = max(c.shape[1] for c in clips)
  fill = lambda c: np.pad(c, ((0, 0), (0, longest - c.shape[1])))
  return np.stack([fill(c) for c in clips])


@functools.cache
def embed(family, num_samples, folder, names):
  """Embeddings of a folder's clips, `[n, 2, F D]` by layer."""
  clips = waves(folder, names, num_samples)
  fn, parts = embedder(family, num_samples), []
  for start in range(0, len(clips), BATCH):
    batch = clips[start : start + BATCH]
    full = np.pad(batch, ((0, BATCH - len(batch)), (0, 0), (0, 0)))
    out = jax.tree.map(np.asarray, fn(full))
    parts.append({n: x[: len(batch)] for n, x in out.items()})
  return {n: np.concatenate([p[n] for p in parts]) for n in parts[0]}


def pairs_of_layer(run, family, layer):
  """Our embeddings of each split, as the reference file has them."""
  channels = [run.config[f"{c}_channel"] for c in ("near", "far")]
  num, folder = run.config["audio_length"], recordings(run)
  return {
    s: embed(family, num, folder / s, tuple(run.files(s)))[layer][:, channels]
    for s in ludo.SPLITS
  }


def pairs_of(run, member):
  family = run.members[member]["encoder"]
  return pairs_of_layer(run, family, layer_of(run, member))


def csv_of(run, name):
  return list(csv.reader(io.StringIO(str(run[name]))))


@pytest.mark.parametrize(("run", "member"), MEMBERS)
def test_embeddings(run, member):
  found, want = pairs_of(run, member), run.pairs(member)
  for s in ludo.SPLITS:
    ludo.close(found[s][: len(want[s])], want[s], EMBEDDING, s)


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_scores_decisions_and_csv(run):
  members = {}
  for name in run.members:
    members[name] = ludo.score_member(run, pairs_of(run, name), ludo.mixed_rows)
    ludo.check_member(run, name, members[name], exact=SCORE)
    if "prototype_index" in members[name]:
      index = members[name]["prototype_index"]
      ludo.check_prototypes(run, name, index)
  score, own = (
    np.mean([m[k] for m in members.values()], axis=0)
    for k in ("score", "train_score")
  )
  ludo.check_decisions(run, score, own, exact=SCORE)
  if "score_csv" in run:
    rows = csv_of(run, "score_csv")
    assert [r[0] for r in rows] == run.files("test")
    ludo.close(score, [float(r[1]) for r in rows], ludo.OWN, "csv")
    rows = csv_of(run, "decision_csv")
    assert [r[0] for r in rows] == run.files("test")
    limit = np.quantile(own, run.config["decision_quantile"])
    assert [int(r[1]) for r in rows] == list((score > limit).astype(int))


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_files_are_taken_in_the_order_of_their_names(run):
  for s in ludo.SPLITS:
    found = sorted(p.name for p in (recordings(run) / s).glob("*.wav"))
    assert found == run.files(s)


@pytest.mark.parametrize(("run", "family"), LAYERWISE)
def test_metrics_of_every_block(run, family):
  plain = ludo.Run(run.path, run.prefix, run.machine)
  plain.config |= {"prps_k": None, "top_k": 1}
  want = run[f"layerwise/{family}"]
  layers = encoder_of(family)[0].about.layers
  for layer, metrics in zip(
    (*layers[1 : len(want)], "output"), want, strict=True
  ):
    pairs = pairs_of_layer(run, family, layer)
    score = ludo.score_member(plain, pairs, ludo.mixed_rows)["score"]
    found = ludo.clip_metrics(run, score)
    ludo.compare_metrics(run, found, metrics, ludo.METRICS)
