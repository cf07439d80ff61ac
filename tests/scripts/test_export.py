"""Detectors of one file, as commands make and read them."""

import json
import shutil

import jax
import jax.export
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from jaxlib import version

import asd_jax
from asd_jax import store
from asd_jax.engine import lowering, portable, portable_session
from asd_jax.runs import score as score_lib


@pytest.fixture(scope="module")
def exported(run, evaluated, tmp_path_factory):
  """The detector of the evaluated fan in one file; read only."""
  file = tmp_path_factory.mktemp("exported") / "fan.asd"
  end = run("export.py", evaluated.detector, file)
  assert end.status == 0, end.err
  assert end.out.startswith(f"{file}: ")
  assert "fan, section 00; clips of 0.3 s at 16000 Hz; jaxlib" in end.out
  assert end.err == ""
  return file


@pytest.fixture(scope="module")
def sound(evaluated):
  """Test clips of the length of the training clips, and one other."""
  folder = evaluated.data / "fan" / "test"
  heads = {p: p.stat().st_size for p in sorted(folder.glob("*.wav"))}
  usual = min(heads.values())
  same = [p for p, size in heads.items() if size == usual]
  (other, *_) = (p for p, size in heads.items() if size != usual)
  return same, other


def test_a_file_scores_as_its_folder(
  run, evaluated, exported, sound, put_wave, tmp_path
):
  # Training clips tie with themselves, so that p-values tell the last digit;
  # a long recording is cut into windows.
  train = sorted((evaluated.data / "fan" / "train").glob("*.wav"))
  paths = [*sound[0], *train, put_wave(tmp_path / "long.wav", seconds=1.0)]
  other = tmp_path / "elsewhere.bin"
  shutil.copy(exported, other)
  want = run("score.py", f"--detector={evaluated.detector}", *paths)
  end = run("score.py", f"--detector={other}", *paths)
  assert (end.status, end.err) == (0, want.err)
  assert end.out == want.out
  assert len(end.out.splitlines()) == 1 + len(paths)


def test_samples_in_python_and_what_the_program_says(
  evaluated, exported, monkeypatch
):
  waves = np.random.default_rng(0).normal(size=(2, 1, 4800)) / 8
  found = asd_jax.load_detector(exported)
  want = asd_jax.load_detector(evaluated.detector).judge(waves)
  given = []
  run = portable_session.Session._run

  def spy(*args):
    call = run(*args)
    return lambda *clips: given.append(call(*clips)) or given[-1]

  monkeypatch.setattr(portable_session.Session, "_run", spy)
  got = found.judge(waves)
  np.testing.assert_allclose(got.scores, want.scores, rtol=1e-6)
  np.testing.assert_array_equal(got.p_values, want.p_values)
  np.testing.assert_array_equal(got.decisions, want.decisions)
  # The program's own, which whoever runs it without us goes by.
  np.testing.assert_allclose(given[0].p_value[:2], want.p_values, rtol=1e-6)
  with pytest.raises(ValueError, match="copy the file instead"):
    found.save(exported.parent / "out")


def test_clips_that_it_has_no_program_for_are_refused(
  run, exported, sound, put_wave, tmp_path
):
  end = run("score.py", f"--detector={exported}", sound[1])
  assert f"{sound[1]}: found 0.4 s, expected 0.3 s" in end.refused()
  assert "export --seconds" in end.refused()


def test_a_watch_remembers_beside_the_file(run, exported, sound, tmp_path):
  file, folder = tmp_path / "fan.asd", tmp_path / "new"
  shutil.copy(exported, file)
  folder.mkdir()
  shutil.copy(sound[0][0], folder)
  flags = [f"--detector={file}", f"--watch={folder}", "--once"]
  first = run("score.py", *flags, "--interval_seconds=0.01")
  assert (first.status, len(first.out.splitlines())) == (0, 2), first.err
  assert len([*(tmp_path / "fan.asd.watched").iterdir()]) == 1
  again = run("score.py", *flags, "--interval_seconds=0.01")
  assert (again.status, len(again.out.splitlines())) == (0, 1), again.err


def test_what_a_file_says_of_itself(exported, evaluated):
  found = portable.read(exported)
  about = found.about
  assert about["versions"]["jaxlib"] == version.__version__
  assert about["weights"] == []
  assert found.config["branches"].keys() == {"log_mel"}
  assert not {"data_dir", "output_dir"} & found.config.keys()
  # Nobody learns where it was made.
  data = exported.read_bytes()
  assert str(evaluated.data).encode() not in data
  (own,) = found.sections.values()
  assert own.facts["num_train"] == 6
  assert own.facts["lengths"] == {"4800": 6}
  for program in own.state.programs:
    assert b"/asd_jax/" not in program.code
  platforms = [p.platforms for p in own.state.programs]
  assert platforms == [("cpu",), ("cuda", "tpu")]


def parts(file):
  """Arrays, index and the index's text of a file."""
  with safetensors.safe_open(file, "np") as opened:
    text = opened.metadata()["about"]
  return safetensors.numpy.load_file(file), json.loads(text)


def put(file, arrays, index):
  """Writes a file as whoever wants to deceive would."""
  text = json.dumps(index)
  marks = {"about": text, "digest": store.digest(text, arrays)}
  file.write_bytes(safetensors.numpy.save(arrays, marks))


def changed(change):
  def act(file):
    arrays, index = parts(file)
    change(arrays, index)
    put(file, arrays, index)

  return act


def flip(file):
  data = bytearray(file.read_bytes())
  data[-50] ^= 1
  file.write_bytes(data)


def of(index):
  return index["sections"]["00"]


def bomb(arrays, index):
  of(index)["programs"][0]["num_bytes"] = 1 << 40


DAMAGES = {
  "empty": lambda f: f.write_bytes(b""),
  "text": lambda f: f.write_text("text that is no detector at all"),
  "pickle": lambda f: f.write_bytes(b"\x80\x04\x95" + bytes(80)),
  "cut": lambda f: f.write_bytes(f.read_bytes()[:-7]),
  "longer": lambda f: f.write_bytes(f.read_bytes() + b"0"),
  "flipped": flip,
  "foreign": lambda f: f.write_bytes(
    safetensors.numpy.save({"x": np.zeros(3)}, {"about": "{}"})
  ),
  "another kind": changed(lambda a, i: i.update(kind="x")),
  "newer format": changed(lambda a, i: i.update(format=99)),
  "no sections": changed(lambda a, i: i.update(sections={})),
  "odd sections": changed(lambda a, i: i.update(sections=[1])),
  "odd rate": changed(lambda a, i: i["config"].update(sample_rate="x")),
  "odd rule": changed(lambda a, i: of(i).update(rule={"name": "x"})),
  "no folds": changed(lambda a, i: of(i)["past"].pop("own")),
  "lost array": changed(lambda a, i: of(i)["arguments"].append(["none"])),
  "a program of terabytes": changed(bomb),
  "no code": changed(lambda a, i: a.update({
    of(i)["programs"][0]["code"]: np.zeros(9, np.uint8)})),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused(run, exported, sound, tmp_path, name):
  file = tmp_path / "fan.asd"
  shutil.copy(exported, file)
  DAMAGES[name](file)
  end = run("score.py", f"--detector={file}", sound[0][0])
  assert str(file) in end.refused()
  assert end.out == ""


@pytest.mark.parametrize("here", ["0.9.1", "0.10.1", "0.13.0", "1.0.0"])
def test_other_versions_of_jaxlib_are_refused(
  run, exported, sound, tmp_path, monkeypatch, here
):
  file = tmp_path / "fan.asd"
  shutil.copy(exported, file)

  def made(arrays, index):
    index["jaxlib"] = {"at_least": "0.10.2", "below": "0.13.0"}

  changed(made)(file)
  monkeypatch.setattr(version, "__version__", here)
  line = run("score.py", f"--detector={file}", sound[0][0]).refused()
  assert f"{file}: found jaxlib {here}, expected 0.10.2 or later" in line


def test_the_versions_that_a_file_is_for(monkeypatch):
  monkeypatch.setattr(version, "__version__", "0.10.2")
  assert portable.window() == {"at_least": "0.10.2", "below": "0.13.0"}


def test_code_that_is_no_stablehlo_is_refused(run, exported, sound, tmp_path):
  """A program that calls Python is one that jax does not export by itself."""
  file = tmp_path / "fan.asd"
  shutil.copy(exported, file)
  for code in (_calling_python(), b"no code"):
    found = portable.read(exported)
    (own,) = found.sections.values()
    programs = tuple(p._replace(code=code) for p in own.state.programs)
    own = own._replace(state=own.state._replace(programs=programs))
    portable.write(file, found._replace(sections={"00": own}))
    line = run("score.py", f"--detector={file}", sound[0][0]).refused()
    assert f"{file}: found a program that" in line
    assert "expected StableHLO" in line


def _calling_python():
  out, name = jax.ShapeDtypeStruct((), np.float32), "xla_python_cpu_callback"
  called = jax.jit(jax.ffi.ffi_call(name, out))
  checks = [jax.export.DisabledSafetyCheck.custom_call(name)]
  done = jax.export.export(called, platforms=["cpu"], disabled_checks=checks)
  return bytes(done(out).mlir_module_serialized)


def test_a_file_is_little_more_than_its_numbers(evaluated, exported, tmp_path):
  """Of a bank of a thousand clips; here there are six."""
  found, opened = score_lib.opened(evaluated.detector)
  (given,) = found.sections.values()

  def larger(x):
    return np.repeat(x, 170, axis=1) if x.shape[1:2] == (6,) else x

  def grown(tree):
    return jax.tree.map(larger, tree)

  folds = given.folds._replace(states=tuple(map(grown, given.folds.states)))
  given = given._replace(state=grown(given.state), folds=folds)
  made = lowering.section(
    given, found.system, {}, lengths=[4800], batch_size=opened.batch_size
  )
  small = portable.read(exported)
  size = portable.write(tmp_path / "a", small._replace(sections={"00": made}))
  leaves = jax.tree.leaves([given.state, folds.states])
  state = sum({id(x): x.nbytes for x in leaves}.values())
  assert state > 1e6
  assert size < 1.2 * state


def test_flags_are_checked(run, evaluated, exported, tmp_path):
  file = tmp_path / "x.asd"
  assert "found 1" in run("export.py", evaluated.detector).refused()
  for bad in ("a", "0", "-1", "nan", "inf"):
    end = run("export.py", f"--seconds={bad}", evaluated.detector, file)
    assert f"found {bad}, expected numbers above 0" in end.refused()
  end = run("export.py", "--seconds=0.001", evaluated.detector, file)
  assert "--seconds: found 0.001, this detector expects" in end.refused()
  end = run("export.py", evaluated.data, file)
  assert "found no detector" in end.refused()
  end = run("export.py", evaluated.detector, tmp_path)
  assert f"{tmp_path}: cannot be written" in end.refused()
  old = tmp_path / "old"
  shutil.copytree(evaluated.detector, old)
  text = (old / "detector.json").read_text()
  index = json.loads(text)
  del index["sections"]["00"]["lengths"]
  (old / "detector.json").write_text(json.dumps(index))
  assert "expected --seconds" in run("export.py", old, file).refused()
  assert not file.exists()


@pytest.mark.slow
def test_from_a_shell_a_file_is_scored_without_the_code(
  spawn, exported, sound, evaluated, run
):
  end = spawn("score.py", f"--detector={exported}", sound[0][0])
  want = run("score.py", f"--detector={evaluated.detector}", sound[0][0])
  assert (end.status, end.out) == (0, want.out), end.err
