"""Published tables hold together: each mean is the mean of its parts."""

import itertools

import pytest

from asd_jax.metrics import official
from asd_jax.report import published as report_published
from asd_jax.report import record
from configs import katech_ablation, konica_ablation, published

# Half a unit of the last digit of a value, and of a mean of such values.
ROUNDING = 0.01
BY_METRIC = (
  published.BASELINE,
  published.LUDO,
  published.KONICA,
  published.KONICA_FOUR,
  published.DONGYUAN,
)
BY_SCORE = published.KATECH, published.MERL, published.MERL_ENCODERS


def cases(*tables):
  return list(itertools.chain(*(table.items() for table in tables)))


def harmonic(values):
  return official.official_score(values)


@pytest.mark.parametrize(("name", "row"), cases(*BY_METRIC))
def test_means_of_a_table_are_those_of_its_parts(name, row):
  *machines, total = row
  assert len(machines) == len(published.DEVELOPMENT)
  for *values, score in machines:
    if score is not None:
      assert harmonic(values) == pytest.approx(score, abs=ROUNDING), values
  columns = list(zip(*machines, strict=True))[:3]
  # Called harmonic by the report, these three are arithmetic.
  odd = name in ("ludo_system1", "ludo_system2", "ludo_system4")
  mean = official.arithmetic_mean if odd else harmonic
  for column, printed in zip(columns, total, strict=False):
    if printed is not None:
      assert mean(column) == pytest.approx(printed, abs=ROUNDING)
  every = [v for column in columns for v in column]
  assert harmonic(every) == pytest.approx(total[3], abs=ROUNDING)


@pytest.mark.parametrize(("name", "row"), cases(published.BASELINE_EVALUATION))
def test_the_evaluation_set_is_the_evaluators(name, row):
  *machines, total = row
  columns = list(zip(*machines, strict=True))[:3]
  means = [harmonic(c) for c in columns]
  assert means == pytest.approx(list(total[:3]), abs=1e-4)
  assert harmonic(sum(columns, ())) == pytest.approx(total[3], abs=1e-4)
  found = published.of(name)
  assert found["evaluation"] == pytest.approx(total[3] / 100)
  assert set(found["machines"]) == record.DEVELOPMENT | record.EVALUATION


@pytest.mark.parametrize(("name", "row"), cases(*BY_SCORE))
def test_a_total_is_the_mean_of_the_machines_scores(name, row):
  *machines, total = row
  assert len(machines) == len(published.DEVELOPMENT)
  # KATECH prints three digits a machine.
  near = 0.05 if name.startswith("katech") else ROUNDING
  assert harmonic(machines) == pytest.approx(total, abs=near)


def test_reports_agree_where_they_print_the_same():
  rows = published.MERL_ENCODERS
  # System 4 takes one of two encoders machine by machine.
  chosen = published.MERL["merl_system4"][:-1]
  pairs = zip(rows["merl_na_eat"], rows["merl_dis_na_eat"], strict=True)
  assert all(v in pair for v, pair in zip(chosen, [*pairs][:-1], strict=True))
  # A rung of the ladder is a system, and so is a view of the zoo.
  ladder = published.KATECH_LADDER
  assert ladder["ada_sub_domain"][2] == published.KATECH["katech_system1"][-1]
  ada_sub = published.KATECH_COLUMNS["ada_sub"]
  assert ladder["ada_sub"][2] == ada_sub
  _, residual, _ = published.LUDO_ZOO["sslam_base"]
  assert residual == published.LUDO["ludo_system3"][-1][3]


def test_steps_of_the_ablation_add_up():
  frozen, full, mask = published.KONICA_STEPS.values()
  assert (full - frozen, mask - full) == pytest.approx((5.80, 2.34))
  assert mask == published.KONICA["konica_system1"][-1][3]
  rows = {row: published.step(row) for row in konica_ablation.STEPS}
  assert rows["full"]["development"] == 0.6207
  assert rows["lora"]["difference"] == -0.033
  told = published.KONICA_STEPS.keys() | published.KONICA_DIFFERENCES.keys()
  untold = {"mixstyle", "mean_shift", "unit", "zscore"}
  assert rows.keys() - untold == told


def test_same_domain_auc_come_in_steps_of_fifty_by_fifty_pairs():
  values = [
    v
    for row in published.DONGYUAN.values()
    for machine in row[:-1]
    for v in machine[:2]
  ]
  assert all(round(100 * v) % 4 == 0 for v in values)


def test_a_block_says_what_its_numbers_are():
  assert len(set(published.names())) == len(published.names())
  for name in published.names():
    found = published.of(name)
    assert 0.5 < found["development"] < 0.7
    assert found["measure"] in report_published.WORDS
    assert found["domain_auc"] in report_published.RANKED
  fan = published.of("dongyuan_system1")["machines"]["fan"]
  assert fan.pop("score") == pytest.approx(harmonic(fan.values()))
  assert fan == dict(auc_source=0.708, auc_target=0.5792, pauc=0.5237)
  for name in katech_ablation.LADDER:
    assert published.rung(name)["development"] in (
      0.0,
      *(round(v / 100, 6) for v in published.KATECH_LADDER.get(name, ()) if v),
    )
