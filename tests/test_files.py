import errno
import os

import pytest

from asd_jax import files


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
  path = files.atomic_write_text(tmp_path / "deep" / "a.csv", "old\r\n")
  assert path.read_bytes() == b"old\r\n"

  def fail(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  for name in ("fsync", "replace"):
    with monkeypatch.context() as patch:
      patch.setattr(os, name, fail)
      with pytest.raises(ValueError, match=r"a\.csv: cannot be written: No sp"):
        files.atomic_write_text(path, "new")
  assert path.read_bytes() == b"old\r\n"
  assert list(path.parent.iterdir()) == [path]
  with pytest.raises(ValueError, match="deep: cannot be written"):
    files.atomic_write_text(tmp_path / "deep", "a folder stands here")
  with pytest.raises(ValueError, match="x: cannot be written: "):
    files.atomic_write_text(path / "x", "a file stands above")
