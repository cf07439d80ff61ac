"""Whole systems of LUDO, from the embeddings that the official code stored.

`_64` arrays hold the scores in double precision; the program's own are in
float32, and lose small distances to rounding.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.backends import base, knn, prototypes, rows
from asd_jax.metrics import official
from asd_jax.ops import views
from asd_jax.scores import fusion
from tests.conftest import GOLDENS

pytestmark = pytest.mark.golden
FILES = sorted((GOLDENS / "systems").glob("ludo_system*.npz"))

EXACT, OWN, OWN_TRAIN = 2e-6, 3e-4, 1.5e-3
THRESHOLD, THRESHOLD_OWN = 5e-5, 2e-4
METRICS, SMALL_GAP = 0.01, 5e-4
BRANCHES = ("full", "proto")
# What a variant may change and score the same embeddings.
OF_SCORES = ("prps_k", "n_mix_support")
# Best over all thresholds, by labels: of no use here.
NOT_OURS = ("f1", "f1_source", "f1_target")


@functools.cache
def arrays_of(path):
  with np.load(path) as z:
    return dict(z)


class Run:
  """A system with the settings of a variant, on one machine."""

  def __init__(self, path, prefix, machine):
    self.path, self.prefix, self.machine = path, prefix, machine
    self.z = arrays_of(path)
    config = json.loads(str(self.z["config_json"]))
    variant = config["variants"][prefix[:-1]] if prefix else {}
    self.config = config | variant
    self.same_inputs = {
      k: v for k, v in variant.items() if k not in OF_SCORES
    } | {k: config[k] for k in ("data", "audio_length")}
    self.same_inputs.setdefault("batch_size", config["batch_size"])
    self.is_target = self.z[f"{machine}/train_is_target"]
    self.num = {s: len(self.z[f"{machine}/{s}_file"]) for s in SPLITS}

  def __str__(self):
    return f"{self.path.stem}-{self.prefix}{self.machine}"

  def __getitem__(self, name):
    return self.z[f"{self.prefix}{self.machine}/{name}"]

  def __contains__(self, name):
    return f"{self.prefix}{self.machine}/{name}" in self.z

  @property
  def members(self):
    return {m["name"]: m for m in self.config["members"]}

  def files(self, split):
    return list(self.z[f"{self.machine}/{split}_file"])

  def pairs(self, member):
    """Stored embeddings of each split, `[n, 2, D]`, near first."""
    name = f"{member}/{{}}_{{}}"
    if name.format("train", "near") not in self:
      return None
    return {
      s: np.stack([self[name.format(s, c)] for c in ("near", "far")], axis=1)
      for s in SPLITS
    }

  def all_pairs(self, member):
    """Embeddings of all clips, also those of another file, or None.

    Those of another variant or system are the same if they are of the same
    batches; the few clips that a file always has then agree.
    """
    start = None
    others = [r for r in RUNS if r.machine == self.machine]
    for run in sorted(others, key=lambda r: (r.path != self.path, r.prefix)):
      if run.same_inputs != self.same_inputs or member not in run.members:
        continue
      found = run.pairs(member)
      if found is None:
        continue
      start = found if start is None else start
      if all(
        len(found[s]) == self.num[s]
        and run.files(s) == self.files(s)
        and np.array_equal(found[s][: len(start[s])], start[s])
        for s in SPLITS
      ):
        return found
    return None


SPLITS = ("train", "test")


def all_runs():
  for path in FILES:
    config = json.loads(str(arrays_of(path)["config_json"]))
    for prefix in ("", *(f"{v}/" for v in config["variants"])):
      for machine in arrays_of(path)["machines"]:
        yield Run(path, prefix, str(machine))


RUNS = list(all_runs())


# Members that can be scored, as all clips' embeddings are stored.
CASES = [
  pytest.param(run, member, id=f"{run}-{member}")
  for run in RUNS
  for member in run.members
  if run.all_pairs(member) is not None
]
# Those of them whose target rows are mixed with every source row.
ALL_PAIRS = [
  case
  for case in CASES
  if case.values[0].config["n_mix_support"] >= np.sum(~case.values[0].is_target)
]


def mixed_rows(run, bank):
  """The bank with its mixed rows made."""
  lam, num = (
    run.config[k] for k in ("memmix_lambda_on_target", "n_mix_support")
  )
  return rows.memmixup_rows(bank, lam=lam, num_support=num)


def pairs_of_rows(run, bank):
  """The bank with all mixed rows, none of which is made."""
  return rows.memmixup(bank, lam=run.config["memmix_lambda_on_target"])


def make_backends(run, width):
  """The backend, and that of its whole bank."""
  c = run.config
  inner = knn.knn(k=c["top_k"], metric=c["metric"])
  if c["prps_k"] is None:
    return inner, inner
  projection = run.z[f"projection/D{width}"]
  choose = lambda bank: prototypes.chosen_rows(
    bank, projection, num=c["prps_k"]
  )
  return prototypes.blend(inner, choose, weight=c["branch_weights"][1]), inner


def score_member(run, pairs, mix):
  """Scores of a member by their names in the file, and its prototypes."""
  backend, inner = make_backends(run, pairs["train"].shape[-1])
  alpha, num_target = run.config["residual_alpha"], int(run.is_target.sum())

  @jax.jit
  def everything(train, test):
    view = jax.vmap(lambda e: views.residual(e, alpha=alpha))
    own, clips = view(train), view(test)
    keys = jax.vmap(views.projection_residual)(train)
    target = jnp.asarray(run.is_target)
    bank = base.bank_of(own, target, num_target=num_target, key=keys)
    state = backend.fit(mix(run, bank))
    parts = {"": (backend, state), "_full": (inner, state)}
    out = {}
    if backend is not inner:
      parts["_full"] = (inner, state["full"])
      parts["_proto"] = (inner, state["chosen"])
      out["prototype_index"] = state["chosen"].group
    for name, (b, s) in parts.items():
      out[f"score{name}"] = jax.vmap(lambda e, b=b, s=s: b.score(s, e))(clips)
      out[f"train_score{name}"] = jax.vmap(
        lambda e, g, b=b, s=s: b.self_score(s, e, g)
      )(own, bank.group)
    return out

  found = everything(pairs["train"], pairs["test"])
  return {k: np.asarray(v) for k, v in found.items()}


def close(found, want, atol, what):
  np.testing.assert_allclose(found, want, rtol=0, atol=atol, err_msg=what)


def branch_names(run, member):
  return [b for b in BRANCHES if f"{member}/score_{b}" in run]


def member_score_64(run, member):
  """A member's score in double precision: the file has its branches'."""
  parts = [run[f"{member}/score_{b}_64"] for b in branch_names(run, member)]
  return np.average(parts, axis=0, weights=run.config["branch_weights"])


def check_member(run, member, found, *, exact):
  """Compares scores with both versions that are stored."""
  names = branch_names(run, member)
  assert names == [b for b in BRANCHES if f"score_{b}" in found]
  close(found["score"], member_score_64(run, member), exact, "score_64")
  for b in names:
    name = f"score_{b}"
    close(found[name], run[f"{member}/{name}_64"], exact, f"{name}_64")
  for name in ("score", *(f"score_{b}" for b in names)):
    close(found[name], run[f"{member}/{name}"], OWN, name)
    name = f"train_{name}"
    close(found[name], run[f"{member}/{name}"], OWN_TRAIN, name)


def check_prototypes(run, member, index):
  """Compares choices in order, up to one that rounding may turn."""
  want, gap = (run[f"{member}/prototype_{n}"] for n in ("index", "gap"))
  assert index.shape == want.shape
  differs = np.flatnonzero(index != want)
  if len(differs):
    assert gap[differs[0]] < SMALL_GAP, differs[0]
  np.testing.assert_array_equal(np.sort(index), np.sort(want))


def check_decisions(run, score, train_score, *, exact):
  """Compares what follows of the scores of a whole system."""
  close(score, run["score_64"], exact, "score_64")
  close(train_score, run["train_score_64"], exact, "train_score_64")
  close(score, run["score"], OWN, "score")
  close(train_score, run["train_score"], OWN_TRAIN, "train_score")
  threshold = np.quantile(train_score, run.config["decision_quantile"])
  close(threshold, run["threshold_64"], THRESHOLD, "threshold_64")
  close(threshold, run["threshold"], THRESHOLD_OWN, "threshold")
  np.testing.assert_array_equal(score > threshold, run["decision"])


def test_there_are_reference_files():
  assert FILES
  assert CASES


@pytest.mark.slow
@pytest.mark.parametrize(("run", "member"), CASES)
def test_scores_from_stored_embeddings(run, member):
  found = score_member(run, run.all_pairs(member), mixed_rows)
  check_member(run, member, found, exact=EXACT)
  if "prototype_index" in found:
    check_prototypes(run, member, found["prototype_index"])
  if len(run.members) == 1:
    check_decisions(run, found["score"], found["train_score"], exact=EXACT)


@pytest.mark.slow
@pytest.mark.parametrize(("run", "member"), ALL_PAIRS)
def test_scores_without_making_the_mixed_rows(run, member):
  found = score_member(run, run.all_pairs(member), pairs_of_rows)
  check_member(run, member, found, exact=EXACT)
  if len(run.members) == 1:
    check_decisions(run, found["score"], found["train_score"], exact=EXACT)


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_the_system_is_the_mean_of_its_members(run):
  def fused(parts):
    parts = jnp.asarray(np.stack(parts), jnp.float32)
    return fusion.weighted_mean(parts, jnp.ones(len(parts)))

  own = {
    name: fused([run[f"{m}/{name}"] for m in run.members])
    for name in ("score", "train_score")
  }
  for name, found in own.items():
    close(found, run[name], EXACT, name)
  exact = [member_score_64(run, m) for m in run.members]
  close(fused(exact), run["score_64"], EXACT, "score_64")
  quantile = functools.partial(np.quantile, q=run.config["decision_quantile"])
  limit = quantile(own["train_score"])
  close(limit, run["threshold"], EXACT, "threshold")
  np.testing.assert_array_equal(own["score"] > limit, run["decision"])


def clip_metrics(run, score):
  """Metrics of one machine by the names of the file."""
  label, is_target = (
    run.z[f"{run.machine}/test_{n}"] for n in ("label", "is_target")
  )
  found = official.clip_metrics(score, label, is_target)
  # The official evaluator takes a domain's anomalies, this program all.
  for domain, inside in (("source", ~is_target), ("target", is_target)):
    keep = inside | (label == 1)
    alone = official.clip_metrics(score[keep], label[keep], None)
    found[f"pauc_{domain}"] = alone["pauc"]
  return {**found, "official_score": official.machine_score([found])}


def compare_metrics(run, found, want, atol):
  names = [str(n) for n in run.z["metric_names"]]
  known = [n for n in names if n not in NOT_OURS]
  assert set(known) <= set(found)
  want = dict(zip(names, want, strict=True))
  for name in known:
    close(found[name], want[name], atol, name)


@pytest.mark.parametrize("run", RUNS, ids=str)
@pytest.mark.parametrize(
  ("name", "atol"), [("score", 1e-6), ("score_64", METRICS)]
)
def test_metrics_follow_from_the_scores(run, name, atol):
  compare_metrics(run, clip_metrics(run, run[name]), run["metrics"], atol)


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_metrics_of_all_machines(run):
  same = lambda r: (r.path, r.prefix) == (run.path, run.prefix)
  each = [clip_metrics(r, r["score"]) for r in RUNS if same(r)]
  mean = {k: official.official_score([m[k] for m in each]) for k in each[0]}
  ranked = official.official_score(official.ranked_values(each))
  close(mean["official_score"], ranked, 1e-9, "of all values")
  want = run.z[f"{run.prefix}summary_metrics"]
  compare_metrics(run, mean, want, 1e-6)
