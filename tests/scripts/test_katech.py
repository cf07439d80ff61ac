"""KATECH's systems as a user runs them, with tiny networks."""

import json
import os
import shutil

import numpy as np
import pytest
import soundfile

from asd_jax.engine import detector
from asd_jax.engine import train as train_lib
from tests.scripts.conftest import ROOT, TEST, TRAIN

pytestmark = pytest.mark.usefixtures("no_reasons")
S1, S4 = (ROOT / "configs" / f"katech_system{i}.py:smoke" for i in (1, 4))
# Networks and covariances are as wide as there are bands.
BANDS = {
  S1: ["--config.branches.ada_sub.frontend.num_mels=16"],
  S4: [
    f"--config.branches.{b}_sub.frontend.num_mels=16" for b in ("ada", "ref")
  ],
}
HEAD = "section_00_source_train_normal_0000_spd_0.wav"


@pytest.fixture(scope="module")
def whole(run, put_machine, tmp_path_factory):
  """All members of system 4 on one development machine; read only."""
  root = tmp_path_factory.mktemp("katech")
  put_machine(root / "data" / "fan")
  end = run(
    "evaluate.py",
    f"--config={S4}",
    *BANDS[S4],
    f"--config.data_dir={root / 'data'}",
    f"--config.output_dir={root / 'out'}",
    "--config.threshold.folds=0",
  )
  assert end.status == 0, end.err
  return root


def results_of(folder):
  return json.loads((folder / "results.json").read_text())


def scores_of(folder, machine="fan"):
  lines = (folder / "scores" / f"{machine}.csv").read_text().splitlines()[1:]
  return {n: float(s) for n, s, *_ in (line.split(",") for line in lines)}


def test_every_member_has_its_own_numbers(whole):
  found = results_of(whole / "out")
  assert found["labels_from"] == "names"
  named = {(m["branch"], m["seed"]) for m in found["per_member"]}
  assert named == {(b, s) for b in ("ada_sub", "ref_sub") for s in (1, 2)}
  assert [s["seed"] for s in found["per_seed"]] == [1, 2]
  page = (whole / "out" / "report.html").read_text()
  # Not the published system, and not compared with it.
  assert any("the mean of all 4 (branch, seed)" in n for n in found["notes"])
  assert found["published"] is None
  medians = found["machines"]["fan"]["noise_transfer"]
  section = detector.load(whole / "out" / "detectors" / "fan").sections["00"]
  for name, front in section.state["front"].items():
    g = np.median(front["frontend"]["transfer"])
    assert medians.pop(name) == pytest.approx(float(g))
  assert medians == {}
  assert 'id="denoising"' in page
  assert "median G" in page
  assert 'id="seeds"' in page


@pytest.fixture
def no_training(monkeypatch):
  def refuse(*_):
    pytest.fail("a network was trained again")

  monkeypatch.setattr(train_lib.Kept, "_train", refuse)


def again(evaluate, whole, out, config, *args, training=None):
  end = evaluate(
    f"--config.training_dir={training or whole / 'out' / 'training'}",
    *BANDS[config],
    *args,
    config=config,
    out=out,
    data=whole / "data",
  )
  assert end.status == 0, end.err
  return scores_of(out)


def test_scoring_again_never_trains(evaluate, whole, tmp_path, monkeypatch):
  trained, train = [], train_lib.Kept._train

  def counted(self, seeds, fit):
    trained.append(tuple(seeds))
    return train(self, seeds, fit)

  monkeypatch.setattr(train_lib.Kept, "_train", counted)
  kept = shutil.copytree(whole / "out" / "training", tmp_path / "training")
  first = again(evaluate, whole, tmp_path / "a", S1, training=kept)
  # The networks of all clips are there, those of the two folds are not.
  assert trained == [(1, 2), (1, 2)]
  name = "--config.branches.ada_sub.backend"
  other = again(
    evaluate,
    whole,
    tmp_path / "b",
    S1,
    f"{name}.alpha=0.9",
    f"{name}.percentile=50.0",
    f"{name}.shrinkage=0.0",
    f"{name}.ridge=0.1",
    training=kept,
  )
  assert len(trained) == 2
  assert first.keys() == other.keys()
  assert first != other


# What is compared is the mean. Members that are fitted together round otherwise
# than each alone, and two stages multiply that: few frames span few of the
# 128 bands, so the default ridge of 1e-3 holds it a thousandfold; and the gamma
# deviation of a few scores that are nearly equal is a small difference.
ROBUST = [
  f"--config.branches.{b}.{setting}"
  for b in ("ada_sub", "ref_sub")
  for setting in ("backend.ridge=0.1", "calibration.name=identity")
]
# What is compared are scores, which the folds of decisions leave as they are.
ROBUST.append("--config.threshold.folds=0")


@pytest.mark.usefixtures("no_training")
def test_chosen_members_score_as_their_mean(run, evaluate, whole, tmp_path):
  file = tmp_path / "members.json"
  end = run(
    "select_members.py",
    f"--results={whole / 'out'}",
    "--num=2",
    f"--output={file}",
  )
  assert end.status == 0, end.err
  chosen = json.loads(file.read_text())
  ranked = [m["official_score"] for m in chosen["members"]]
  ranked += [m["official_score"] for m in chosen["left_out"]]
  assert ranked == sorted(ranked, reverse=True)
  out = tmp_path / "out"
  fused = again(evaluate, whole, out, S4, f"--config.selection={file}", *ROBUST)
  found = results_of(out)
  assert len(found["config"]["members"]) == 2
  assert any("the mean of chosen 2 (branch" in n for n in found["notes"])
  assert found["config"]["selection"] == ""
  # Labels that chose the members measure nothing new.
  assert found["members_chosen_on"] == sorted(found["machines"])
  assert any("chose the members" in note for note in found["notes"])
  assert "chose the members" in (out / "report.html").read_text()
  file.unlink()  # the detector does not need it
  end = run(
    "score.py",
    f"--detector={out / 'detectors' / 'fan'}",
    whole / "data" / "fan" / "test",
  )
  assert end.status == 0, end.err
  rows = [line.split(",") for line in end.out.splitlines()[1:]]
  for path, score, *_ in rows:
    assert float(score) == pytest.approx(fused[os.path.basename(path)])
  single = []
  for member in chosen["members"]:
    pair = f"(('{member['branch']}', {member['seed']}),)"
    here = tmp_path / f"{member['branch']}{member['seed']}"
    chosen_one = f"--config.members={pair}"
    single.append(again(evaluate, whole, here, S4, chosen_one, *ROBUST))
  for name, score in fused.items():
    want = np.mean([s[name] for s in single])
    assert score == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize(
  ("change", "text"),
  [
    (dict(labels_from="ground_truth"), "labels of an evaluation set"),
    (dict(labels_from="mixed"), "mixed"),
    (dict(labels_from=None), "no labels"),
    (dict(per_member=[]), "no members"),
    (dict(per_member=[dict(official_score=None)]), "no official score"),
  ],
)
def test_members_are_not_chosen_on_an_evaluation_set(
  run, whole, tmp_path, change, text
):
  found = results_of(whole / "out") | change
  (tmp_path / "results.json").write_text(json.dumps(found))
  output = tmp_path / "members.json"
  line = run(
    "select_members.py", f"--results={tmp_path}", f"--output={output}"
  ).refused()
  assert text in line
  assert not output.exists()


@pytest.mark.parametrize(
  ("args", "texts"),
  [
    (["--config.selection=nowhere.json"], ["nowhere.json", "no readable"]),
    (["--config.members=(('ada_sub', 7),)"], ["members", "7"]),
    (["--config.members=(('no_sub', 1),)"], ["no_sub", "ada_sub"]),
    (["--config.members=(('ada_sub', 1), ('ada_sub', 1))"], ["twice"]),
    (["--config.members=('ada_sub',)"], ["members", "pairs"]),
  ],
)
def test_wrong_members_are_refused(evaluate, whole, tmp_path, args, texts):
  line = evaluate(
    *args, config=S4, data=whole / "data", out=tmp_path / "out"
  ).refused()
  assert all(t in line for t in texts), line
  assert not (tmp_path / "out").exists()


def test_another_file_is_no_selection(evaluate, whole, tmp_path):
  file = tmp_path / "odd.json"
  for content, text in (("[]", "object"), ("{", "JSON"), ("{}", "another")):
    file.write_text(content)
    line = evaluate(
      f"--config.selection={file}", config=S4, data=whole / "data"
    ).refused()
    assert str(file) in line
    assert text in line


def test_mono_clips_name_the_branch_that_needs_two(
  evaluate, put_machine, tmp_path
):
  put_machine(tmp_path / "data" / "fan", channels=1)
  line = evaluate(config=S1).refused()
  assert "found 1 channel" in line
  assert "expected 2 (near and far)" in line
  assert " ada_sub of this system needs" in line


def change_channels(path, change):
  wave, rate = soundfile.read(path, dtype="int16")
  both = change(wave[:, 0], wave[:, 1])
  soundfile.write(path, np.stack(both, 1).astype(np.int16), rate)


def quiet_near(near, far):
  """A near channel that hardly moves beside a loud far one."""
  return near // 500, np.clip(11 * far.astype(int), -32768, 32767)


ODD = {
  "identical": lambda near, far: (near, near),
  "silent": lambda near, far: (near, 0 * far),
  "loud": quiet_near,
}


def named(names, machine):
  """File names that tell the machine, for notes on clips do not."""
  return [n.replace("_spd_", f"_{machine}_") for n in names]


@pytest.fixture(scope="module")
def odd(run, put_machine, tmp_path_factory):
  """System 1 on machines with something odd each; read only."""
  root = tmp_path_factory.mktemp("odd")
  # As many as the others have, whose programs are theirs.
  source = [
    f"section_00_source_train_normal_{i:04d}_spd_{i}.wav"
    for i in range(len(TRAIN))
  ]
  folders = {
    name: put_machine(
      root / "data" / name,
      train=named(source if name == "untargeted" else TRAIN, name),
      test=named(TEST, name),
    )
    for name in (*ODD, "once", "untargeted")
  }
  for name, change in ODD.items():
    for path in folders[name].rglob("*.wav"):
      change_channels(path, change)
  (first,) = named([HEAD], "once")
  change_channels(folders["once"] / "train" / first, ODD["silent"])
  end = run(
    "evaluate.py",
    f"--config={S1}",
    *BANDS[S1],
    f"--config.data_dir={root / 'data'}",
    f"--config.output_dir={root / 'out'}",
    "--config.threshold.folds=0",
  )
  assert end.status == 0, end.err
  return root / "out"


@pytest.mark.parametrize("name", [*ODD, "once", "untargeted"])
def test_odd_machines_get_finite_scores_and_notes(odd, name):
  assert np.isfinite(list(scores_of(odd, name).values())).all()
  mine = (f"_{name}_", f"{name} 00: ")
  notes = [n for n in results_of(odd)["notes"] if any(m in n for m in mine)]
  has = lambda text: any(text in n for n in notes)
  assert has("channel 1 is silent") == (name in ("silent", "once"))
  assert has("channel 1 is the same") == (name == "identical")
  no_target = has("found no training clips of the target domain")
  assert no_target == (name == "untargeted")


def test_the_ladder_refuses_wrong_flags(run, tmp_path):
  out = f"--output={tmp_path / 'out'}"
  for args in (
    [out],
    [out, "--smoke", "--data_dir=somewhere"],
    [out, "--smoke", "--rungs=ladder"],
    [out, "--smoke", "--table=4", "--rungs=ae"],
    ["--smoke"],
  ):
    line = run("katech_ablation.py", *args).refused()
    assert "--output=OUT" in line
  assert not (tmp_path / "out").exists()


@pytest.mark.full
def test_the_ladder_prints_each_rung_beside_the_published(run, tmp_path):
  end = run(
    "katech_ablation.py",
    f"--output={tmp_path / 'out'}",
    "--smoke",
    "--rungs=ada_sub,ada_sub_domain",
  )
  assert end.status == 0, end.err
  rungs = [x for x in end.out.splitlines() if x.startswith("+ ")]
  # As each is done, in the table, and on the fan alone.
  assert len(rungs) == 6
  assert rungs[2].split()[:2] == ["+", "AdaSub"]
  assert "63.70 +- 0.62" in rungs[2]
  assert "65.44" in rungs[3]
  # The rungs hear the same sound: two machines, two seeds, trained once.
  kept = list((tmp_path / "out" / "training").glob("*.safetensors"))
  assert len(kept) == 4
  end = run(
    "katech_ablation.py",
    f"--output={tmp_path / 'out'}",
    "--smoke",
    "--table=4",
  )
  assert end.status == 0, end.err
  *_, fan, valve, total, best, _ = end.out.splitlines()
  assert fan.split()[0] == "fan"
  assert valve.split()[0] == "valve"  # in no table of the report
  assert "64.70" in total
  assert best.startswith("label oracle (bound)")
