from pathlib import Path

import jax
import numpy as np
import pytest

from asd_jax.engine import system as system_lib
from asd_jax.metrics import official
from asd_jax.runs.sweep import engine as sweep_engine
from asd_jax.runs.sweep import points as sweep_points
from tests.runs.sweep import cases

ROOT = Path(__file__).parents[3]
ALPHA = "view.alpha=linspace(-0.5, 1, 7)"
LAM = "bank.lam=[0.0, 0.3, 0.9, 1.0]"
RESIDUAL = dict(view=dict(name="residual"))
KNN = {
  "one": dict(name="knn"),
  "three": dict(name="knn", k=3),
  "more than there are": dict(name="knn", k=80),
  "weighted": dict(name="knn", k=3, weights=(1.0, -0.35, -0.05)),
  "squares": dict(name="knn", k=2, metric="sqeuclidean"),
}


def both_ways(structure, clips):
  out = []
  for fast in (True, False):
    engine = sweep_engine.Engine(structure, fast=fast)
    assert engine.is_fast("one", clips) == fast
    out.append(cases.scores(engine, clips))
    assert engine.traces["one"] == 1
  return out


@pytest.mark.parametrize(
  ("backend", "wrappers", "calibration"),
  [
    ("one", (), "identity"),
    ("one", ("per_domain",), "percentile"),
    ("three", (), "zscore"),
    ("more than there are", ("per_domain",), "identity"),
    ("weighted", (), "zscore"),
    ("squares", ("per_domain",), "identity"),
  ],
)
def test_the_quick_way_gives_the_same_scores(backend, wrappers, calibration):
  structure = cases.structure(
    [ALPHA, LAM],
    one=dict(
      **RESIDUAL,
      bank=dict(name="memmixup"),
      backend=KNN[backend],
      wrappers=wrappers,
      calibration=dict(name=calibration),
    ),
  )
  quick, plain = both_ways(structure, cases.clips())
  assert quick.shape == (28, 1, 16)
  np.testing.assert_allclose(quick, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  ("texts", "stages_", "settings"),
  [
    # In-sample scores of a nearest neighbour are zero only where both programs
    # of a clip round alike, as those of users do.
    pytest.param([ALPHA], dict(**RESIDUAL, reference="in_sample",
                 calibration=dict(name="zscore")), {},
                 marks=pytest.mark.optimised),
    ([ALPHA], dict(**RESIDUAL), {}),
    ([LAM], dict(**RESIDUAL, bank=dict(name="memmixup")), {}),
    ([LAM], dict(bank=dict(name="memmixup")), {}),
    (["weight.one=[1, 2]"], dict(**RESIDUAL), {}),
    ([ALPHA, LAM], dict(**RESIDUAL, bank=dict(name="memmixup")),
     dict(num_target=0)),
    ([ALPHA, LAM], dict(**RESIDUAL, bank=dict(name="memmixup")),
     dict(num=5, num_target=5)),
    ([ALPHA, LAM], dict(**RESIDUAL, bank=dict(name="memmixup")),
     dict(num=1, num_target=0)),
  ],
)  # fmt: skip
def test_the_quick_way_knows_many_branches(texts, stages_, settings):
  structure = cases.structure(texts, one=stages_)
  quick, plain = both_ways(structure, cases.clips(**settings))
  np.testing.assert_allclose(quick, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  ("texts", "stages_"),
  [
    ([ALPHA], dict(**RESIDUAL, transform=dict(name="standardise"))),
    ([ALPHA], dict(**RESIDUAL, backend=dict(name="knn", metric="cosine"))),
    ([ALPHA], dict(**RESIDUAL, backend=dict(name="mahalanobis"),
                   reference="in_sample")),
    (["bank.lam=[0.5, 1.5]"], dict(bank=dict(name="memmixup"))),
    (["bank.lam=[0.5]"], dict(bank=dict(name="memmixup_rows"))),
    (["transform.ridge=logspace(-5, -1, 5)"], dict(transform=dict(name="zca"))),
  ],
)  # fmt: skip
def test_other_branches_take_the_plain_way(texts, stages_):
  engine = sweep_engine.Engine(cases.structure(texts, one=stages_))
  clips = cases.clips()
  assert not engine.is_fast("one", clips)
  assert np.isfinite(cases.scores(engine, clips)).all()


@pytest.mark.parametrize("fast", [True, False])
def test_every_point_is_the_run_at_its_setting(fast):
  structure = cases.structure(
    [LAM, ALPHA, "weight.one=[1, 3]"],
    one=dict(**RESIDUAL, bank=dict(name="memmixup")),
    two=dict(transform=dict(name="standardise")),
  )
  engine = sweep_engine.Engine(structure, fast=fast)
  clips = cases.clips(("one", "two"))
  scores = {n: cases.scores(engine, clips, n) for n in ("one", "two")}
  assert scores["one"].shape[0] == 28
  assert scores["two"].shape[0] == 1  # nothing that is swept moves it
  values = engine.metrics(scores, *cases.labels())
  assert values.shape == (56, 3)
  assert engine.traces == {"one": 1, "two": 1, "metrics": 1}

  @jax.jit
  def alone(h):
    state = system_lib.fit(engine.system, h, clips.normals)
    score = lambda x: system_lib.score(engine.system, h, state, x)
    return jax.vmap(score)(clips.tests[0])

  for point in (0, 1, 13, 55):
    chosen = structure.values(point)
    h = engine.system.hypers
    own = {**h["one"], "view": {"alpha": chosen["view.alpha"]},
           "bank": {"lam": chosen["bank.lam"]}}  # fmt: skip
    h = {**h, "one": own, "weight": {"one": chosen["weight.one"], "two": 1.0}}
    want = alone(h)
    fused, seeds = engine.scores_at(at(engine, scores, point), point)
    np.testing.assert_allclose(fused, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(seeds, fused[None], rtol=1e-6)
    metrics = official.clip_metrics(fused, *cases.labels())
    for got, key in zip(values[point], official.RANKED, strict=True):
      assert got == pytest.approx(metrics[key], abs=1e-6)


@pytest.mark.parametrize("fast", [True, False])
def test_chunks_share_one_program(monkeypatch, fast):
  structure = cases.structure(
    ["view.alpha=linspace(-0.5, 1, 11)", LAM],
    one=dict(**RESIDUAL, bank=dict(name="memmixup")),
  )
  clips = cases.clips()
  whole = cases.scores(sweep_engine.Engine(structure, fast=fast), clips)
  monkeypatch.setattr(sweep_engine, "_LEAST_CHUNK", 6)
  monkeypatch.setattr(sweep_engine, "_FAST_CHUNK", 12)
  monkeypatch.setattr(sweep_engine, "_budget", lambda: 3 * 8 * 2400)
  engine = sweep_engine.Engine(structure, fast=fast)
  assert len(engine.chunks("one", clips)) > 3
  np.testing.assert_allclose(
    cases.scores(engine, clips), whole, rtol=1e-6, atol=1e-6
  )
  assert engine.traces["one"] == 1


def test_scores_that_are_not_finite_have_no_metrics():
  structure = cases.structure(["weight.one=[0, 1]"], one=dict(**RESIDUAL))
  engine = sweep_engine.Engine(structure)
  scores = {"one": cases.scores(engine, cases.clips())}
  values = engine.metrics(scores, *cases.labels())
  assert np.isnan(values[0]).all()  # weights that add up to nothing
  assert np.isfinite(values[1]).all()


def at(engine, scores, point):
  """`{branch: [K, Q]}` scores at one point."""
  return {n: s[engine.grids[n].place[point]] for n, s in scores.items()}


def test_seeds_are_kept_apart():
  structure = cases.structure(["weight.one=[1, 2]"], one=dict(), two=dict())
  engine = sweep_engine.Engine(structure)
  rng = np.random.default_rng(0)
  scores = {
    "one": rng.normal(size=(1, 3, 16)),
    "two": rng.normal(size=(1, 1, 16)),
  }
  scores = {n: s.astype(np.float32) for n, s in scores.items()}
  fused, seeds = engine.scores_at(at(engine, scores, 1), 1)
  want = (2 * scores["one"][0] + scores["two"][0]) / 3
  np.testing.assert_allclose(seeds, want, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(fused, want.mean(0), rtol=1e-5, atol=1e-6)


def spread():
  """Scores and metrics of both ways, on the devices there are."""
  out = {}
  # Neither number of points can be divided by that of the devices.
  for fast, texts in (
    (True, ["view.alpha=linspace(-0.5, 1, 11)", "bank.lam=[0.2, 0.9]"]),
    (False, ["bank.lam=linspace(0, 1, 7)"]),
  ):
    structure = cases.structure(
      texts, one=dict(**RESIDUAL, bank=dict(name="memmixup"))
    )
    engine = sweep_engine.Engine(structure, fast=fast)
    scores = cases.scores(engine, cases.clips())
    values = engine.metrics({"one": scores}, *cases.labels())
    out[str(fast)] = np.concatenate([scores.ravel(), values.ravel()])
    assert engine.traces["one"] == 1
  return out


def test_a_grid_leads_with_alpha():
  structure = cases.structure(
    [LAM, ALPHA], one=dict(**RESIDUAL, bank=dict(name="memmixup"))
  )
  grid = sweep_points.branch_grid(structure, "one")
  assert grid.paths == (("view", "alpha"), ("bank", "lam"))
  assert grid.run == 4
  for point in range(structure.num_points):
    chosen = structure.values(point)
    row = [v[grid.place[point]] for v in grid.values]
    want = [chosen["view.alpha"], chosen["bank.lam"]]
    np.testing.assert_allclose(row, want, rtol=1e-6)


def test_the_system_is_left_as_it_is():
  structure = cases.structure([ALPHA], one=dict(**RESIDUAL))
  h = system_lib.build(structure.config).hypers["one"]
  out = sweep_points.set_leaves(h, (("view", "alpha"),), (3.0,))
  assert out["view"] == {"alpha": 3.0}
  assert h["view"] == {"alpha": 0.5}
