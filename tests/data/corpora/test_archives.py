import os
import zipfile

import numpy as np
import pytest

from asd_jax import errors
from asd_jax.data.corpora import archives, files, split_archives
from tests.data.corpora import look_alike

CONTENT = {
  f"audio/{i}.bin": np.random.default_rng(i).bytes(300 + 41 * i)
  for i in range(9)
}
CONTENT["audio/zeros.bin"] = bytes(5_000)
CONTENT["audio/empty.bin"] = b""


def read(found):
  return {member.name: member.read() for member in found}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
  "cuts", [(900,), (5, 6, 1_000), (1_500, 1_510), tuple(range(400, 3_000, 333))]
)
def test_a_split_archive_is_read_across_its_parts(tmp_path, method, cuts):
  look_alike.put_split(tmp_path, "x", CONTENT, cuts, method=method)
  last = tmp_path / "x.zip"
  assert split_archives.is_split(last)
  found = split_archives.members(last)
  assert read(found.members) == CONTENT
  assert (found.missing, found.lost) == ([], [])
  for member in found.members:
    assert member.head(20) == CONTENT[member.name][:20]


def test_what_lies_in_missing_parts_is_named_and_the_rest_read(tmp_path):
  look_alike.put_split(tmp_path, "x", CONTENT, (1_000, 2_000))
  whole = {m.name for m in split_archives.members(tmp_path / "x.zip").members}
  for number in ("01", "02"):
    part = tmp_path / f"x.z{number}"
    kept = part.read_bytes()
    part.unlink()
    found = split_archives.members(tmp_path / "x.zip")
    assert found.missing == [part.name]
    assert found.members
    assert found.lost
    assert {m.name for m in found.members} | set(found.lost) == whole
    for member in found.members:
      assert member.read() == CONTENT[member.name]
    part.write_bytes(kept)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_pieces_laid_end_to_end_are_one_archive(tmp_path, method):
  data = look_alike.zipped(CONTENT, method)
  paths = []
  for i, start in enumerate(range(0, len(data), 700)):
    paths.append(tmp_path / f"x.zip.a{chr(97 + i)}")
    paths[-1].write_bytes(data[start : start + 700])
  assert read(archives.members(paths)) == CONTENT
  listing = files.listed(tmp_path, "x")
  assert {os.fspath(p) for p, _ in listing.files} == CONTENT.keys()
  paths[1].unlink()
  (error,) = files.listed(tmp_path, "x").broken
  assert str(error).startswith(f"{paths[1]}: found nothing, expected a piece")


def test_files_outside_archives_are_preferred(tmp_path):
  (tmp_path / "x.zip").write_bytes(look_alike.zipped(CONTENT))
  look_alike.put(tmp_path, {"audio/0.bin": b"mine"})
  stored = [
    s for p, s in files.listed(tmp_path, "x").files if p.name == "0.bin"
  ]
  assert [files.content(s) for s in stored] == [b"mine", CONTENT["audio/0.bin"]]


def test_only_the_archives_of_a_corpus_are_opened(tmp_path):
  (tmp_path / "other.zip").write_bytes(b"no archive")
  (tmp_path / "x.unsplit.zip").write_bytes(look_alike.zipped(CONTENT))
  listing = files.listed(tmp_path, "x")
  assert [p.name for p in listing.archives] == ["x.unsplit.zip"]
  assert not listing.broken


def test_a_damaged_member_is_named_with_its_part(tmp_path):
  look_alike.put_split(tmp_path, "x", CONTENT, (1_000, 2_000))
  part = tmp_path / "x.z02"
  data = bytearray(part.read_bytes())
  data[500:520] = bytes(20)
  part.write_bytes(data)
  (bad,) = [
    m
    for m in split_archives.members(tmp_path / "x.zip").members
    if m.num_bytes and b"\0" * 20 in m._packed(m.num_packed)
  ]
  with pytest.raises(
    errors.InputError, match=r"x\.z0[12]: audio/\d.bin: found"
  ):
    bad.read()


def test_archives_cut_short_are_refused(tmp_path):
  data = look_alike.zipped(CONTENT)
  path = tmp_path / "x.zip"
  for num in (0, 3, 1_000, len(data) - 30):
    path.write_bytes(data[:num])
    with pytest.raises(errors.InputError, match="x.zip: found no directory"):
      archives.members([path])
    with pytest.raises(errors.InputError, match="x.zip: found no directory"):
      split_archives.is_split(path)
  look_alike.put_split(tmp_path, "x", CONTENT, (1_000,))
  (tmp_path / "x.zip").unlink()
  (error,) = files.listed(tmp_path, "x").broken
  assert "x.zip: found only the parts before it, expected the last" in str(
    error
  )


def test_members_that_cannot_be_unpacked_are_refused(tmp_path):
  path = tmp_path / "x.zip"
  path.write_bytes(look_alike.zipped(CONTENT, zipfile.ZIP_BZIP2))
  with pytest.raises(errors.InputError, match=r"x.zip: audio/.*by method 12"):
    archives.members([path])
