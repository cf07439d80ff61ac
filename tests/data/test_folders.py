import os

import pytest

from asd_jax import errors
from asd_jax.data import folders


@pytest.mark.parametrize("name", [b"a.wav", "ü.wav".encode(), b"\xff\xc3.wav"])
def test_a_name_comes_back_from_its_text(name):
  given = os.fsdecode(name)
  text = folders.text_of(given)
  assert text.encode("utf-8", "surrogateescape") == name
  assert folders.name_of(text) == given


def test_sound_files_are_listed_once_and_hidden_ones_not(tmp_path):
  for name in ("b/c.wav", "a.FLAC", "a.txt", ".h.wav", ".g/i.wav", "b/d/e.mp3"):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  (tmp_path / "b" / "up").symlink_to(tmp_path)
  (tmp_path / "x").symlink_to(tmp_path / "b")
  found = folders.paths_below(f"{tmp_path}/")
  assert sorted(found) == [
    f"{tmp_path}/{name}" for name in ("a.FLAC", "b/c.wav", "b/d/e.mp3")
  ]
  assert sorted(found) == sorted(
    os.path.join(f"{tmp_path}/", p.relative_to(tmp_path))
    for p in folders.sound_files(folders.walk(tmp_path))[0]
  )
  with pytest.raises(errors.InputError, match="found no readable folder"):
    folders.paths_below(str(tmp_path / "none"))
