"""Every system on the same recordings, as a user runs it."""

import csv
import json
import shutil
from pathlib import Path
from unittest import mock

import pytest

from asd_jax.runs import evaluate, table
from configs import encoder_zoo, published

# Published, and of no config here.
FUTURE = dict(merl_system9=published.MERL["merl_system1"])
MISSING = "ludo_system1", *FUTURE


class Stand:
  """Stands for `evaluate.run`: results of a run that is there already."""

  def __init__(self, finished):
    self.finished, self.ran, self.unlike = finished, [], ["katech_system4"]

  def __call__(self, config, *, progress):
    del progress
    to = Path(config["output_dir"])
    self.ran.append((to.name, len(config["members"])))
    shutil.copytree(self.finished, to, dirs_exist_ok=True)
    found = json.loads((to / "results.json").read_text())
    found["per_member"] = [
      {"branch": b, "seed": seed, "official_score": 1 / seed}
      for b in config["branches"]
      for seed in config["seeds"]
    ]
    if to.name in self.unlike:
      found["published"] = None
    (to / "results.json").write_text(json.dumps(found))
    return found


@pytest.fixture(scope="module")
def reproduce(run, evaluated, tmp_path_factory):
  """`reproduce(*systems)` on copied recordings, all into one folder."""
  root = tmp_path_factory.mktemp("reproduce")
  shutil.copytree(evaluated.data, root / "data")
  stand = Stand(evaluated.out)

  def start(*names):
    with (
      mock.patch.object(evaluate, "run", stand),
      mock.patch.dict(published.MERL, FUTURE),
    ):
      return run(
        "reproduce.py",
        f"--data_dir={root / 'data'}",
        f"--output={root / 'out'}",
        f"--weights_dir={root / 'nowhere'}",
        f"--systems={','.join(names)}",
      )

  start.root, start.ran = root, stand.ran
  return start


@pytest.fixture(scope="module")
def first(reproduce):
  """One system that can be run beside two that cannot."""
  end = reproduce("plain_knn", *MISSING)
  assert end.status == 0, end.err
  assert reproduce.ran == [("plain_knn", 0)]
  return end


def rows(out):
  with open(out / table.CSV, encoding="utf-8", newline="") as file:
    return list(csv.DictReader(file))


def test_what_cannot_be_run_is_told_beside_what_is_published(first, reproduce):
  lines = first.out.splitlines()
  assert any(x.startswith("ludo_system1: not run: weights: 1") for x in lines)
  assert f"merl_system9: not run: {table.NOT_HERE}" in lines
  page = (reproduce.root / "out" / table.PAGE).read_text()
  assert page == Path(lines[-2].removeprefix("page: ")).read_text()
  assert "63.24" in page
  assert "get it from" in page
  assert 'href="plain_knn/report.html"' in page
  found = rows(reproduce.root / "out")
  assert [r["published"] for r in found if r["system"] == "ludo_system1"][
    0
  ] == ("0.6324")
  results = reproduce.root / "out" / "plain_knn" / "results.json"
  fan = json.loads(results.read_text())["machines"]["fan"]
  ours = {
    r["metric"]: r["ours"]
    for r in found
    if (r["system"], r["machine"], r["domain_auc"])
    == ("plain_knn", "fan", "official")
  }
  assert {k: float(v) for k, v in ours.items()} == pytest.approx(
    {k: fan[k] for k in ours}
  )
  facts = {r["metric"]: float(r["ours"]) for r in found if not r["system"]}
  assert set(facts) == {
    *("correlation", "power_ratio_db", "coherence"),
    *("share_at_floor", "noise_transfer"),
  }
  # Two channels of independent noise of one level.
  assert abs(facts["correlation"]) < 0.1
  assert abs(facts["power_ratio_db"]) < 0.5
  assert facts["noise_transfer"] == pytest.approx(1, abs=0.2)


@pytest.mark.usefixtures("first")
def test_what_is_finished_is_not_run_again(reproduce, monkeypatch):
  end = reproduce("plain_knn", "plain_mahalanobis")
  assert reproduce.ran[1:] == [("plain_mahalanobis", 0)], end.err
  assert end.status == 0
  assert "plain_knn: kept" in end.err
  # Equal scores: a difference to the best of nothing, of any clips.
  _, line = [x for x in end.out.splitlines() if x.startswith("plain_maha")]
  assert "+0.00" in line
  monkeypatch.setattr(table.store, "code_version", lambda *_: "another")
  reproduce("plain_knn")
  assert reproduce.ran[2:] == [("plain_knn", 0)]


def test_members_are_chosen_once_all_were_run(reproduce):
  before = len(reproduce.ran)
  end = reproduce("katech_system4")
  assert end.status == 0, end.err
  both = [("katech_system4_all", 0), ("katech_system4", 10)]
  assert reproduce.ran[before:] == both
  file = reproduce.root / "out" / "katech_system4_all" / "members.json"
  seeds = [m["seed"] for m in json.loads(file.read_text())["members"]]
  assert seeds == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
  # What is made of other members has no published number beside it.
  mine = [r for r in rows(reproduce.root / "out") if r["system"] == both[1][0]]
  assert mine
  assert not any(r["published"] for r in mine)


def test_the_zoo_has_a_row_an_encoder_and_step(reproduce):
  before = len(reproduce.ran)
  end = reproduce("encoder_zoo")
  why = ": not run: weights: 1 not found"
  told = [x.split(why)[0] for x in end.out.splitlines() if why in x]
  assert told == [
    f"encoder_zoo_{row.replace(',', '_')}" for row in encoder_zoo.ROWS
  ]
  assert end.status == 2  # nothing could be run
  # Numbers are printed of two encoders.
  page = (reproduce.root / "out" / table.PAGE).read_text()
  printed = [n for row in published.LUDO_ZOO.values() for n in row if n]
  assert page.count("[LUDO26]") == len(printed) > 3
  assert len(reproduce.ran) == before


def test_wrong_flags_are_refused(run, tmp_path):
  out = f"--output={tmp_path / 'out'}"
  for args in (
    [out],
    [out, "--smoke", f"--data_dir={tmp_path}"],
    ["--output=", "--smoke"],
    [out, "--smoke", "--seeds=-1"],
    [out, "--smoke", "x"],
  ):
    line = run("reproduce.py", *args).refused()
    assert "--data_dir=DIR or --smoke" in line
  line = run("reproduce.py", out, "--smoke", "--systems=plain_kn").refused()
  assert "plain_knn" in line
  assert not (tmp_path / "out").exists()


def test_nothing_to_run_is_told(run, evaluated, tmp_path):
  with mock.patch.dict(published.MERL, FUTURE):
    end = run(
      "reproduce.py",
      f"--data_dir={evaluated.data}",
      f"--output={tmp_path / 'out'}",
      "--systems=merl_system9",
    )
  assert end.status == 2
  assert "not in this version" in end.out
  assert "no system was run" in end.out


@pytest.mark.full
def test_systems_run_in_smoke_size(run, tmp_path):
  out = tmp_path / "out"
  names = "katech_system1", "merl_system1", "ludo_system1", "plain_knn"
  end = run(
    "reproduce.py", f"--output={out}", "--smoke", f"--systems={','.join(names)}"
  )
  assert end.status == 0, end.err
  assert "random weights" in (out / table.PAGE).read_text().lower()
  ran = {r["system"] for r in rows(out) if r["ours"] and r["system"]}
  assert ran == set(names)
