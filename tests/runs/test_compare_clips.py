import json

import numpy as np
import pytest

from asd_jax import files
from asd_jax.metrics import official
from asd_jax.report import compare as report_compare
from asd_jax.runs import compare

MACHINES = ("fan", "pump")


def names_of(num, *, labelled=True):
  return [
    f"section_00_{d}_test_{l}_{i:04d}.wav" if labelled
    else f"section_00_{i:04d}.wav"
    for i in range(num)
    for d, l in [("source" if i % 4 < 2 else "target",
                  "anomaly" if i % 2 else "normal")]
  ]  # fmt: skip


def flags_of(num):
  index = np.arange(num)
  return index % 2 > 0, index % 4 > 1


def scores_of(num, *, seed, lift):
  rng = np.random.default_rng(0)
  clip = rng.normal(size=num)
  noise = np.random.default_rng(seed).normal(size=num)
  return clip + 0.2 * noise + lift * flags_of(num)[0]


def entry_of(score, domains):
  anomaly, target = flags_of(len(score))
  found = official.clip_metrics(score, anomaly, target if domains else None)
  out = {k: found[k] for k in official.RANKED}
  return {**out, "score": official.machine_score([found])}


def write_run(
  folder, *, seed=0, lift=0.5, num=60, seeds=(1,), labelled=True, config=None,
  draws=False, domains=True,
):  # fmt: skip
  """A run's results.json and the scores of its clips."""
  scores = {
    m: scores_of(num, seed=100 * seed + i, lift=lift)
    for i, m in enumerate(MACHINES)
  }
  machines = {m: entry_of(s, domains) for m, s in scores.items()}
  values = official.ranked_values(machines.values())
  total = official.official_score(values) if domains else None
  lower = lambda value, x: value if value is None else value - x
  spread = 0.01 * np.arange(len(seeds))
  per_seed = [
    {"seed": s, "official_score": lower(total, x), "machines": {
      m: {**e, "score": lower(e["score"], x), "pauc": e["pauc"] - x}
      for m, e in machines.items()}}
    for s, x in zip(seeds, spread, strict=True)
  ]  # fmt: skip
  results = {
    "system": folder.name,
    "config": config or {"data_dir": "/data"},
    "machines": machines,
    "official_score": total,
    "per_seed": per_seed,
    "draws": draws or len(seeds) > 1,
  }
  for m, score in scores.items():
    rows = zip(names_of(num, labelled=labelled), score, strict=True)
    table = [("file", "score", "decision"), *((n, s, 0) for n, s in rows)]
    files.atomic_write_text(
      folder / "scores" / f"{m}.csv", files.csv_text(table)
    )
  (folder / "results.json").write_text(json.dumps(results))
  return compare.read(folder)


def test_what_draws_nothing_is_compared_over_its_clips(tmp_path):
  a = write_run(tmp_path / "a", seed=1, lift=0.5)
  b = write_run(tmp_path / "b", seed=2, lift=1.5)
  found = compare.compare(a, b)
  assert [r.clips.kind for r in found.rows] == ["clips"] * 3
  for row in found.rows:
    gap = row.fused_b - row.fused_a
    assert row.clips.difference == pytest.approx(gap, abs=1e-12)
    assert row.clips.interval.low < gap < row.clips.interval.high
  assert [r.clips.num_a for r in found.rows] == [120, 60, 60]
  assert found.rows[1].p_holm_clips >= found.rows[1].clips.p_t
  said = " ".join(report_compare.console(found))
  assert "B is better than A: B - A is +" in said
  assert "over 120 common test clips" in said
  assert "paired bootstrap over clips" in said
  page = report_compare.page(found)
  assert "Intervals of B - A" in page
  # Nobody asks about seeds of what draws nothing.
  for words in (said, page):
    for word in ("seed", "training again", "ensemble"):
      assert word not in words.lower()


def test_one_seed_of_a_trained_system_is_not_better(tmp_path):
  a = write_run(tmp_path / "a", seed=1, lift=0.5)
  b = write_run(tmp_path / "b", seed=2, lift=1.5, draws=True)
  said = " ".join(report_compare.console(compare.compare(a, b)))
  assert "Neither is shown to be better" in said
  assert "nothing about training again" in said


def test_seeds_and_clips_both_have_their_p(tmp_path):
  a = write_run(tmp_path / "a", seed=1, seeds=(1, 2, 3), lift=0.5)
  b = write_run(tmp_path / "b", seed=2, seeds=(3, 4, 5), lift=1.5)
  found = compare.compare(a, b)
  total = found.rows[0]
  assert (total.record.kind, total.clips.kind) == ("welch", "clips")
  said = " ".join(report_compare.console(found))
  assert "B is better than A: B - A is +" in said
  first = said[said.index("B is better") :].split("clips).")[0]
  assert first.count("p = ") + first.count("p < ") == 2
  page = report_compare.page(found)
  assert "over seeds" in page
  assert "over test clips" in page
  # The clips agree no longer: the headline follows.
  same = write_run(tmp_path / "c", seed=2, seeds=(3, 4, 5))
  found = compare.compare(a, same)
  assert report_compare.verdict.side(found.rows[0].clips) == 0
  said = " ".join(report_compare.console(found))
  assert "Neither is shown to be better" in said


@pytest.mark.parametrize("without", ["ab", "a"])
def test_without_domains_runs_are_compared_by_the_pauc(tmp_path, without):
  num = 40
  names = names_of(num, labelled=False)
  anomaly, target = (flags.astype(int) for flags in flags_of(num))
  runs = []
  for name, lift in (("a", 0.5), ("b", 1.5)):
    table = tmp_path / f"{name}.csv"
    domain = [""] * num if name in without else target
    rows = zip(names, anomaly, domain, strict=True)
    table.write_text(files.csv_text([("file", "label", "domain"), *rows]))
    config = {"normal": "/n", "test": "/t", "ground_truth": str(table)}
    runs.append(
      write_run(
        tmp_path / name, seed=1, lift=lift, num=num, seeds=(1, 2),
        labelled=False, domains=name not in without, config=config,
      )
    )  # fmt: skip
  found = compare.compare(*runs)
  assert [r.name for r in found.rows] == ["pAUC", *MACHINES]
  for row in found.rows[1:]:
    assert row.fused_b == runs[1].results["machines"][row.name]["pauc"]
  assert found.rows[0].clips.num_a == 2 * num
  for row in found.rows:
    # By labels of either table: domains that one side lacks count on neither.
    gap = row.fused_b - row.fused_a
    assert row.clips.difference == pytest.approx(gap, abs=1e-12)
  said = " ".join(report_compare.console(found))
  page = report_compare.page(found)
  why = [f"{n.upper()}: no official score" for n in without]
  for words in (said, page):
    assert "compared by the pAUC of all test clips" in words
    assert f"({'; '.join(why)})" in words
    assert "Over seeds, of the pAUC: " in words


def test_a_small_difference_is_not_told_from_the_choice_of_clips(tmp_path):
  a = write_run(tmp_path / "a", seed=1)
  found = compare.compare(a, write_run(tmp_path / "b", seed=2))
  said = " ".join(report_compare.console(found))
  assert "Neither is shown to be better" in said
  assert "cannot be told from the choice of clips" in said


def test_only_common_clips_count(tmp_path):
  a = write_run(tmp_path / "a", seed=1, num=60)
  b = write_run(tmp_path / "b", seed=2, num=48)
  found = compare.compare(a, b)
  assert [r.clips.num_a for r in found.rows] == [96, 48, 48]
  assert any("48 clips that both scored, of 60" in n for n in found.notes)


def test_seeds_against_one_value_say_what_is_compared(tmp_path):
  a = write_run(tmp_path / "a", seed=1, seeds=(1, 2, 3))
  b = write_run(tmp_path / "b", seed=2, lift=1.5)
  found = compare.compare(a, b)
  assert found.rows[0].record.kind == "one sample"
  gap = found.rows[0].fused_b - found.rows[0].fused_a
  assert found.rows[0].clips.difference == pytest.approx(gap, abs=1e-12)
  said = " ".join(report_compare.console(found))
  assert "against a single value" in said
  assert "of the ensembles over 120 common test clips" in said
  # B draws nothing: no spread of its own is missing.
  assert "if it came from a random seed" not in said
  both = compare.compare(a, a)
  assert both.rows[0].record.kind == "paired"


def test_labels_come_from_ground_truth_where_names_are_silent(tmp_path):
  num = 40
  tables = tmp_path / "truth" / "ground_truth_data"
  domains = tmp_path / "truth" / "ground_truth_domain"
  anomaly, target = flags_of(num)
  for folder, flags in ((tables, anomaly), (domains, target)):
    folder.mkdir(parents=True)
    for machine in MACHINES:
      rows = zip(names_of(num, labelled=False), flags, strict=True)
      text = "".join(f"{n},{int(v)}\n" for n, v in rows)
      name = f"ground_truth_{machine}_section_00_test.csv"
      (folder / name).write_text(text)
  config = {"data_dir": "/data", "ground_truth": str(tmp_path / "truth")}
  runs = [
    write_run(tmp_path / n, seed=s, num=num, labelled=False, config=config)
    for n, s in (("a", 1), ("b", 2))
  ]
  assert compare.compare(*runs).rows[0].clips.kind == "clips"
  for path in tables.iterdir():
    path.unlink()
  found = compare.compare(*runs)
  assert found.rows[0].clips is None
  assert any("no test over clips: " in n for n in found.notes)


@pytest.mark.parametrize(
  ("damage", "words"),
  [
    (lambda file: file.unlink(), "no readable file"),
    (lambda file: file.write_text("x,y\n"), "columns"),
    (lambda file: file.write_text("file,score\na.wav,nan\n"), "its score"),
    (
      lambda file: file.write_text(
        "\n".join(file.read_text().splitlines()[:-4]) + "\n"
      ),
      "as in results.json",
    ),
  ],
)
def test_scores_that_do_not_fit_are_named_and_not_used(tmp_path, damage, words):
  a = write_run(tmp_path / "a", seed=1)
  b = write_run(tmp_path / "b", seed=2)
  damage(tmp_path / "b" / "scores" / "pump.csv")
  found = compare.compare(a, b)
  assert found.rows[0].clips is None
  (note,) = [n for n in found.notes if "no test over clips" in n]
  assert words in note
  assert str(tmp_path / "b") in note
