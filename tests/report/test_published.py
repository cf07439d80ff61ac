import pytest

from asd_jax.metrics import official
from asd_jax.report import machines, published, record, summary

NAMES = sorted(record.DEVELOPMENT)


def entry(source, target, pauc, same=0.1):
  values = source, target, pauc
  found = dict(
    zip(official.RANKED, values, strict=True),
    auc_source_same=same,
    auc_target_same=2 * same,
    score=official.official_score(values),
    n_train=1000,
    n_test=4,
  )
  how = record.Decision("conformal", 0.1, False, 10, 1000, 9, True)
  part = dict(
    auc=0.8, measured={}, num_anomalous=1, bootstrap=None,
    decision=how._asdict(),
  )  # fmt: skip
  return {**found, "sections": {"00": {**found, **part}}}


def results(known, *, runs=((0.5, 0.7, 0.6), (0.7, 0.5, 0.6)), **more):
  """Runs that differ, and an ensemble of other numbers."""
  whole = lambda values: {
    "machines": {n: entry(*values) for n in NAMES},
    "official_score": official.official_score(values),
  }
  return {
    **whole((0.8, 0.8, 0.6)),
    "per_seed": [{"seed": i, **whole(v)} for i, v in enumerate(runs)],
    "seed_summary": None,
    "published": {"development": 0.6, "source": "[X26]", **known},
    **more,
  }


def total(found):
  return published.totals(found)["development"]


def test_each_measure_has_its_own_number_on_our_side():
  at = lambda **known: total(results(known))
  ensemble = official.official_score((0.8, 0.8, 0.6))
  single = official.official_score((0.5, 0.7, 0.6))
  assert at() == (ensemble, 0.6, "")  # runs of older configs
  assert at(measure="ensemble").ours == ensemble
  assert at(measure="runs").ours == pytest.approx(single)
  # Metrics first, then their harmonic mean: 60, 60 and 60.
  assert at(measure="means").ours == pytest.approx(0.6)
  same = at(measure="ensemble", domain_auc="same")
  assert same.ours == pytest.approx(official.official_score((0.1, 0.2, 0.6)))


def test_a_number_that_is_another_thing_is_not_compared():
  one = results(dict(measure="ensemble"), runs=((0.5, 0.7, 0.6),))
  pair = total(one)
  assert pair.ours is None
  assert "single run" in pair.why
  assert pair.why in summary.summary(one | dict(measured={}))
  # Drawing nothing, it is its own ensemble.
  assert total(one | dict(draws=False)).ours is not None
  members = results(dict(measure="runs"))
  for run in members["per_seed"]:
    run["branch"] = "a"
  assert "chosen members" in total(members).why
  missing = results(dict(measure="runs"))
  missing["per_seed"][0]["official_score"] = None
  assert total(missing).ours is None


def test_machines_are_compared_by_the_same_definition():
  known = dict(fan=dict(auc_source=0.55, score=0.6, std=0.1), pump=dict(pauc=1))
  pairs = published.by_machine(results(dict(measure="means", machines=known)))
  assert list(pairs) == ["fan"]
  assert pairs["fan"] == dict(
    auc_source=(pytest.approx(0.6), 0.55, ""),
    score=(pytest.approx(0.6), 0.6, ""),
  )
  found = results(dict(measure="means", machines=known))
  page = machines.section(record.Run(found, {}))
  assert "+5.00" in page
  assert "metrics averaged over single runs" in page
