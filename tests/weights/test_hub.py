"""Names on the hub: its folder on disk, and one line where there is nothing."""

import logging
import os
import subprocess
import sys
import warnings

import pytest

from asd_jax.weights import hub

REPO, FILE, COMMIT = "owner/some.name", "model.safetensors", "1" * 40
# In a process of its own, since the hub's library reads its environment when
# it is imported. Each argument is a repository, a file and "local" or "".
CHILD = """
import sys
from asd_jax.weights import hub
for query in sys.argv[1:]:
  repo, file, local = query.split(",")
  try:
    found = hub.cached(repo, file, local_only=bool(local))
  except ValueError as error:
    found = f"ValueError {error}"
  print(found)
"""


@pytest.fixture
def home(tmp_path):
  """A folder as the hub's library leaves it after a download."""
  place = tmp_path / "home/hub/models--owner--some.name"
  (place / "refs").mkdir(parents=True)
  (place / "refs/main").write_text(COMMIT)
  snapshot = place / "snapshots" / COMMIT
  snapshot.mkdir(parents=True)
  (place / "blobs").mkdir()
  (place / "blobs/abc").write_bytes(b"weights")
  (snapshot / FILE).symlink_to("../../blobs/abc")
  return tmp_path / "home"


def cached(home, *queries, **env):
  names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE")
  kept = {k: v for k, v in os.environ.items() if k not in names}
  end = subprocess.run(
    [sys.executable, "-W", "default", "-c", CHILD, *queries],
    capture_output=True,
    text=True,
    check=True,
    cwd=home.parent,
    env={**kept, "HF_HOME": str(home), **env},
  )
  assert not end.stderr
  return end.stdout.splitlines()


@pytest.mark.slow
def test_a_file_on_disk_is_found_without_the_network(home):
  # Not offline, but nothing would answer: no request is made.
  queries = (f"{REPO},{FILE},local", f"{REPO},{FILE},")
  nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
  one, other = cached(home, *queries, **nobody)
  assert one == other
  with open(one, "rb") as file:
    assert file.read() == b"weights"


@pytest.mark.slow
def test_what_is_not_on_disk(home):
  queries = (f"{REPO},other.bin", f"owner/none,{FILE}")
  found = cached(
    home,
    *(f"{q},{local}" for q in queries for local in ("local", "")),
    HF_HUB_OFFLINE="1",
  )
  assert found[0] == found[2] == "None"
  assert found[1].startswith(f"ValueError hub {REPO}: found no other.bin")
  assert found[3].startswith(f"ValueError hub owner/none: found no {FILE}")
  assert all("HF_HUB_OFFLINE is set" in line for line in found[1::2])


@pytest.mark.slow
@pytest.mark.parametrize("error", [OSError, RuntimeError, KeyError])
def test_whatever_the_network_does_is_one_line(error, monkeypatch, capfd):
  with hub._quiet():
    from transformers.utils import hub as theirs

  def fails(*_, local_files_only):
    logging.getLogger("huggingface_hub").warning("Retrying in 8 s")
    warnings.warn("no token", stacklevel=1)
    raise OSError("not here") if local_files_only else error("line\n of two")

  monkeypatch.setattr(theirs, "cached_file", fails)
  assert hub.cached(REPO, FILE, local_only=True) is None
  with pytest.raises(ValueError, match=f"hub {REPO}: found no") as told:
    hub.cached(REPO, FILE, local_only=False)
  assert len(str(told.value).splitlines()) == 1
  assert "of two" in str(told.value)
  assert capfd.readouterr() == ("", "")
  assert logging.getLogger("asd_jax").isEnabledFor(logging.WARNING)


@pytest.mark.parametrize(
  "name",
  ["", "name", "a/b/c", "/abs", "../up", "a/..", "-a/b", "a b/c", "a/b\n"],
)
def test_what_is_no_name(name):
  assert not hub.is_name(name)
  with pytest.raises(ValueError, match="expected owner/name"):
    hub.cached(name, FILE, local_only=True)


def test_published_names_are_names():
  assert hub.is_name("worstchan/EAT-base_epoch30_pretrain")
  assert hub.is_name("mispeech/dasheng-0.6B")
