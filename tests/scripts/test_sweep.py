import csv
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KNN = ROOT / "configs" / "plain_knn.py"
CONFIG = """
from configs import common

def get_config(arg=""):
  c = common.run("<i>residual</i>", arg)
  c.branches = {
    "mel": common.branch(
      channels=(0, 1),
      frontend=dict(name="log_mel", num_mels=16),
      view=dict(name="residual", alpha=0.5),
      bank=dict(name="memmixup"),
    )
  }
  return c
"""
ALPHA = "--sweep=view.alpha=linspace(-0.5,1,6)"
LAM = "--sweep=bank.lam=linspace(0.1,0.9,5)"


@pytest.fixture
def config(tmp_path):
  path = tmp_path / "residual.py"
  path.write_text(CONFIG)
  return path


@pytest.fixture(scope="module")
def data(put_machine, tmp_path_factory):
  folder = tmp_path_factory.mktemp("sweep") / "data"
  for name in ("fan", "pump"):
    put_machine(folder / name)
  return folder


@pytest.fixture
def sweep(run, tmp_path, data, config):
  def start(*args, config=config, out=tmp_path / "out"):
    return run(
      "sweep.py",
      f"--config={config}",
      f"--config.data_dir={data}",
      f"--config.output_dir={out}",
      *args,
    )

  return start


@pytest.fixture(scope="module")
def grid(run, data):
  """A sweep of two keys: where it wrote, and its end; read only."""
  path, out = data.parent / "residual.py", data.parent / "out"
  path.write_text(CONFIG)
  end = run(
    "sweep.py",
    f"--config={path}",
    f"--config.data_dir={data}",
    f"--config.output_dir={out}",
    ALPHA,
    LAM,
  )
  assert end.status == 0, end.err
  return out, end


def rows_in(out):
  with open(out / "sweep.csv", newline="") as file:
    return list(csv.DictReader(file))


def test_a_grid_leaves_a_table_a_choice_and_a_page(grid):
  out, end = grid
  rows = rows_in(out)
  assert len(rows) == 30 * 3
  assert set(rows[0]) == {
    "view.alpha", "bank.lam", "machine", "auc_source", "auc_target", "pauc",
    "score",
  }  # fmt: skip
  found = json.loads((out / "sweep.json").read_text())
  assert found["ways"] == {"quick": 2, "plain": 0}
  own = [r for r in rows if r["machine"] == "all"]
  best = max(own, key=lambda r: float(r["score"]))
  score = found["best"]["official_score"]
  assert float(best["score"]) == pytest.approx(score, abs=1e-6)
  assert f"best {100 * score:.2f}" in end.out
  assert "model selection" in end.out
  assert set(found["leave_one_machine_out"]["machines"]) == {"fan", "pump"}
  page = (out / "sweep.html").read_text()
  assert page.startswith("<!doctype html>")
  assert "default-src 'none'" in page
  assert "&lt;i&gt;residual" in page
  assert "<i>residual" not in page
  assert not re.search(r'(src|href)="(?!data:|#)', page)
  assert page.count("<figure>") == 2
  assert not list(out.rglob("*.partial"))


def test_the_best_point_is_what_an_evaluation_finds(
  grid, data, run, tmp_path, config
):
  found = json.loads((grid[0] / "sweep.json").read_text())
  best = found["best"]["settings"]
  lam = f'name="memmixup", lam={best["bank.lam"]}'
  config.write_text(CONFIG.replace('name="memmixup"', lam))
  end = run(
    "evaluate.py",
    f"--config={config}",
    f"--config.data_dir={data}",
    f"--config.output_dir={tmp_path / 'single'}",
    f"--config.branches.mel.view.alpha={best['view.alpha']}",
  )
  assert end.status == 0, end.err
  single = json.loads((tmp_path / "single" / "results.json").read_text())
  want = single["official_score"]
  assert found["best"]["official_score"] == pytest.approx(want, abs=1e-6)


def test_the_plain_way_finds_the_same(grid, sweep, tmp_path):
  assert sweep(ALPHA, LAM, "--nofast", out=tmp_path / "plain").status == 0
  found = json.loads((tmp_path / "plain" / "sweep.json").read_text())
  assert found["ways"] == {"quick": 0, "plain": 2}
  assert rows_in(grid[0]) == rows_in(tmp_path / "plain")


def test_structure_is_swept_with_floats(sweep, tmp_path):
  end = sweep(
    ALPHA, "--sweep=view.name=['near','residual']", "--sweep=backend.k=[1,2]"
  )
  assert end.status == 0, end.err
  own = [r for r in rows_in(tmp_path / "out") if r["machine"] == "all"]
  assert len(own) == 2 * (1 + 6)
  near = [r for r in own if r["view.name"] == "near"]
  assert [r["view.alpha"] for r in near] == ["", ""]


def test_a_feature_setting_is_swept(sweep, tmp_path):
  end = sweep("--sweep=frontend.num_mels=[8,16]", config=KNN)
  assert end.status == 0, end.err
  assert len(rows_in(tmp_path / "out")) == 2 * 3


@pytest.mark.parametrize(
  ("args", "said"),
  [
    ([], "empty grid"),
    (["--sweep=view.alpha=[]"], "empty grid"),
    (["--sweep=view.alpa=[1]"], "view.alpha, bank.lam, weight.mel"),
    (["--sweep=frontend.alpha=[1]"], "frontend.num_mels"),
    (["--sweep=view.alpha=open('/etc/passwd')"], "found no list"),
    (["--sweep=backend.k=[0]"], "k must be at least 1"),
    ([ALPHA, "extra"], "expected only"),
  ],
)
def test_bad_sweeps_are_refused_in_one_line(sweep, tmp_path, args, said):
  assert said in sweep(*args).refused()
  assert not (tmp_path / "out").exists()


def test_clips_without_labels_cannot_be_swept(
  run, config, tmp_path, put_machine
):
  names = [f"section_00_{i:04d}.wav" for i in range(4)]
  put_machine(tmp_path / "data" / "fan", test=names)
  end = run(
    "sweep.py",
    f"--config={config}",
    f"--config.data_dir={tmp_path / 'data'}",
    f"--config.output_dir={tmp_path / 'out'}",
    ALPHA,
  )
  assert "without labels" in end.refused()
  assert "ground_truth" in end.refused()
