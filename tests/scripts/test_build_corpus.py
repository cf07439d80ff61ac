"""What a user sees of a corpus that is made a data set."""

from asd_jax.data import pools
from asd_jax.data.corpora import base
from tests.data.corpora import look_alike

SCRIPT = "build_corpus.py"


def flags(root, corpus, *more):
  places = f"--archives={root / 'in'}", f"--data_dir={root / 'out'}"
  return f"--corpus={corpus}", *places, *more


def test_a_partial_corpus_is_built_and_its_gaps_are_told(
  run, tmp_path, monkeypatch
):
  monkeypatch.setattr(base, "MIN_SECONDS", 0.05)
  look_alike.put(tmp_path / "in", look_alike.demand("TBUS", without=(7,)))
  end = run(SCRIPT, *flags(tmp_path, "demand"))
  assert end.status == 0, end.err
  lines = end.out.splitlines()
  assert "channels: 15 of 272" in lines
  assert "TBUS lacks ch07" in lines
  assert "train: 15 recordings, 0.00 h" in lines
  assert len(pools.Built(tmp_path / "out", "demand", split="train").recordings)
  end = run(SCRIPT, *flags(tmp_path, "demand", "--strict", "--name=all"))
  assert "expected all of it" in end.refused()


def test_a_folder_is_built_with_a_part_held_out(run, tmp_path):
  data = look_alike.wav(look_alike.noise(99), 16_000)
  look_alike.put(tmp_path / "in", {f"{i}.wav": data for i in "abcd"})
  for name, holdout in (("one", "[ab]"), ("two", "0.5")):
    end = run(
      SCRIPT,
      *flags(tmp_path, "wav_folder", f"--name={name}", f"--holdout={holdout}"),
    )
    assert end.status == 0, end.err
    assert "valid: 2 recordings, 0.00 h" in end.out or name == "two"


def test_missing_flags_and_folders_are_refused(run, tmp_path):
  end = run(SCRIPT, "--corpus=demand")
  assert "flags: expected --corpus=NAME" in end.refused()
  end = run(SCRIPT, *flags(tmp_path, "demand"))
  assert "in: found nothing, expected a folder" in end.refused()
  (tmp_path / "in").mkdir()
  (tmp_path / "in" / "DKITCHEN_16k.zip").write_bytes(b"cut short")
  end = run(SCRIPT, *flags(tmp_path, "demand"))
  assert "DKITCHEN_16k.zip: found no directory" in end.refused()
  assert not end.out  # nothing was begun
