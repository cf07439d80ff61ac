import os
import urllib.parse
from pathlib import Path

from asd_jax.runs import examples

ODD = b"50 % #1 <i>?\xff\xc3\xbc: \"'.wav"


def test_a_link_leads_to_a_file_of_any_name(tmp_path):
  folder = tmp_path / "a #b"
  folder.mkdir()
  path = folder / os.fsdecode(ODD)
  path.write_bytes(b"here")
  real = tmp_path / "x" / "y"
  real.mkdir(parents=True)
  # `..` of a page in a linked folder leads to where the link points.
  out = tmp_path / "out"
  out.symlink_to(real)
  link = examples.link_to(path, out)
  parts = urllib.parse.urlsplit(link)
  assert (parts.path, parts.scheme, parts.netloc) == (link, "", "")
  assert not set(link) & set("<>\"' \\")
  found = os.path.join(os.fsencode(out), urllib.parse.unquote_to_bytes(link))
  assert Path(os.fsdecode(found)).read_bytes() == b"here"
