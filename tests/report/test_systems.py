import csv
import io
import re

import numpy as np
import pytest

from asd_jax.metrics import official, paired, uncertainty
from asd_jax.report import compare, published, record, systems, systems_page
from tests.report.test_published import entry

DEV, EVAL = sorted(record.DEVELOPMENT), sorted(record.EVALUATION)
ODD = "<script>x</script>\u202e"


def results_of(known, *, machines=DEV, seeds=3, draws=True, seed=0):
  """A run of made-up numbers near the published ones."""
  rng = np.random.default_rng(seed)

  def whole():
    values = lambda: 0.6 + 0.05 * rng.normal(size=3)
    found = {m: entry(*values(), same=0.3) for m in machines}
    score = official.official_score(official.ranked_values(found.values()))
    return {"machines": found, "official_score": score}

  runs = [{"seed": i, **whole()} for i in range(seeds)]
  return {
    # What draws nothing is its own single run.
    **(whole() if draws else runs[0]),
    "system": "made",
    "draws": draws,
    "per_seed": runs,
    "published": known,
    "total_parameters": 1_234_567,
    "run": {"seconds": 90.0},
    "encoders": {},
  }


def to_best(difference):
  ends = uncertainty.Interval(difference - 0.01, difference + 0.01)
  found = paired.Comparison("clips", 9, 9, difference, interval=ends, p_t=0.01)
  none = paired.Comparison("none", 1, 1, difference)
  return compare.Row("official score", {}, {}, 0.6, 0.5, none, clips=found)


def known_of(measure, **more):
  return dict(
    development=0.62, evaluation=0.0, source="[X26]", measure=measure,
    domain_auc="official", machines=dict(fan=dict(auc_source=0.55, score=0.5)),
    **more,
  )  # fmt: skip


SYSTEMS = {
  "means": (known_of("means"), {}),
  "ensemble": (known_of("ensemble", runs=dict(score=0.61, std=0.01)), {}),
  "fixed": (known_of("runs"), dict(draws=False, seeds=1)),
  "same": ({**known_of("runs"), "domain_auc": "same"}, dict(seeds=1)),
  "parts": (known_of("ensemble", parts=dict(auc_source=0.7)), {}),
  ODD: ({}, {}),
}


def table_of(**more):
  some = [
    systems.System(name, results_of(known, seed=i, **how, **more), known)
    for i, (name, (known, how)) in enumerate(SYSTEMS.items())
  ]
  some[1] = some[1]._replace(to_best=to_best(-0.02), link="a b/report.html")
  some.append(systems.System("gone", None, known_of("runs"), "no weights"))
  return systems.Table(
    systems.corrected(some),
    {"fan": dict(correlation=0.8, share_at_floor=0.3, noise_transfer=0.9)},
    {"fan": dict(correlation=0.86)},
    ["a <note>"],
  )


def rows_of(table):
  return list(csv.DictReader(io.StringIO(systems.csv(table))))


def cell(table, system, machine, metric, measure, domain_auc="official"):
  (found,) = [
    r
    for r in rows_of(table)
    if (r["system"], r["machine"], r["metric"], r["measure"], r["domain_auc"])
    == (system, machine, metric, measure, domain_auc)
  ]
  number = lambda text: float(text) if text else None
  return {k: number(found[k]) for k in ("ours", "published", "difference")}


def test_a_csv_row_holds_like_with_like():
  table = table_of()
  for name, measure in (("means", "means"), ("ensemble", "ensemble")):
    run = next(s for s in table.systems if s.name == name).results
    ours = published.measured(run, measure=measure)
    found = cell(table, name, "development", "score", measure)
    assert found["ours"] == ours.score
    assert found["difference"] == pytest.approx(ours.score - 0.62)
    on_fan = cell(table, name, "fan", "auc_source", measure)
    assert on_fan["published"] == 0.55
    assert on_fan["ours"] == ours.machines["fan"]["auc_source"]
  # What single trainings reach stands beside the same of the report.
  run = table.systems[1].results
  runs = cell(table, "ensemble", "development", "score", "runs")
  mean = np.mean([s["official_score"] for s in run["per_seed"]])
  assert runs["ours"] == pytest.approx(mean)
  assert runs["published"] == 0.61
  # The official definition has no published number beside it.
  own = cell(table, "same", "fan", "auc_source", "runs", "same")
  assert (own["ours"], own["published"]) == (pytest.approx(0.3), 0.55)
  other = cell(table, "same", "fan", "auc_source", "ensemble")
  assert other["published"] is None
  gone = cell(table, "gone", "development", "score", "runs")
  assert gone == dict(ours=None, published=0.62, difference=None)
  facts = [r for r in rows_of(table) if not r["system"]]
  assert [(r["metric"], r["published"]) for r in facts][0] == (
    "correlation", "0.86",
  )  # fmt: skip


def test_columns_in_which_nothing_stands_are_left_out():
  heads = lambda page: re.findall(r"<th scope=\"col\"[^>]*>([^<]*)<", page)
  assert "single runs" in heads(systems_page.page(table_of()))
  table = systems.Table(
    [
      systems.System("alone", results_of({}, seeds=1, draws=False)),
      systems.System("left out", why="no weights"),
    ]
  )
  found = heads(systems_page.page(table))
  assert not {"single runs", "to the best", "development", "source"} & {*found}
  assert {"score", "minutes", "why"} <= {*found}


def test_a_number_of_other_recordings_has_no_difference():
  table = table_of(machines=("fan", "pump"))
  assert not any(r["difference"] for r in rows_of(table))
  assert list(table.scopes) == [""]
  found = systems.numbers(table.systems[1], "", ["fan", "pump"])
  assert found.difference is None
  assert found.known_score == 0.62
  assert found.known_runs == (0.61, 0.01)
  page = systems_page.page(table)
  assert "not of these" in page
  assert 'class="diff"' not in page


def test_both_sets_in_one_run_are_two_tables():
  table = table_of(machines=(*DEV, *EVAL))
  assert table.scopes == {"development": DEV, "evaluation": EVAL}
  system = table.systems[1]
  found = systems.numbers(system, "development", DEV)
  side = published.measured(system.results, names=DEV)
  assert found.score == side.score
  assert found.difference == pytest.approx(side.score - 0.62)
  on_others = systems.numbers(system, "evaluation", EVAL)
  assert (on_others.known_score, on_others.difference) == (None, None)
  assert on_others.known_runs is None


def test_machines_without_labels_are_no_part_of_the_table():
  table = table_of(machines=(*DEV, *EVAL))
  for system in table.ran:
    for name in EVAL:
      entries = system.results, *system.results["per_seed"]
      for found in entries:
        found["machines"][name] |= dict.fromkeys((*official.RANKED, "score"))
  assert table.scopes == {"development": DEV}
  assert "Evaluation set" not in systems_page.page(table)


def test_a_system_that_draws_nothing_has_one_number():
  table = table_of()
  fixed = next(s for s in table.systems if s.name == "fixed")
  found = systems.numbers(fixed, "development", DEV)
  assert found.runs is None
  assert found.known_runs is None
  assert found.known_score == 0.62
  assert found.difference == pytest.approx(found.score - 0.62)


def test_parts_are_of_the_mean_that_is_published():
  table = table_of()
  run = lambda name: next(s for s in table.systems if s.name == name).results
  found = published.parts(run("parts"), DEV, compared=True)
  values = [run("parts")["machines"][m]["auc_source"] for m in DEV]
  assert found.mean == "arithmetic"
  assert found.ours["auc_source"] == pytest.approx(np.mean(values))
  assert found.published == dict(auc_source=0.7)
  other = published.parts(run("means"), DEV, compared=False)
  assert (other.mean, other.published) == ("harmonic", {})


def test_the_page_and_the_console_hold_any_name():
  table = table_of()
  page = systems_page.page(table)
  assert "<script" not in page
  assert "\u202e" not in page
  assert "a &lt;note&gt;" in page
  assert 'href="a b/report.html"' in page
  assert "no weights" in page
  assert "0.86" in page  # published, below ours
  lines = systems.console(table)
  assert "\u202e" not in "".join(lines)
  assert len({len(line) for line in lines[1:8]}) == 1
  (line,) = [x for x in lines if x.startswith("ensemble")]
  assert "-2.00" in line
  assert "-3.00 to -1.00" in line
  assert "1.23 M" in line
  # Without any results there is what is published.
  gone = systems.Table([table.systems[-1]])
  assert "62.00" in systems_page.page(gone)
  assert "gone: not run: no weights" in systems.line(table.systems[-1])
