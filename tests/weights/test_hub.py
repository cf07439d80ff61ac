"""Names on the hub: folders on disk, and one line where there is nothing."""

import json
import logging
import os
import subprocess
import sys
import warnings

import pytest

from asd_jax.weights import hub

REPO, FILE, COMMIT = "owner/some.name", "model.safetensors", "1" * 40
# In a process of its own, since the hub's library reads its environment when
# it is imported. Each argument is a repository and "local" or "".
CHILD = """
import sys
from asd_jax.weights import hub
for query in sys.argv[1:]:
  repo, local = query.split(",")
  try:
    found = hub.find(repo, local_only=bool(local))
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


def found(home, *queries, **env):
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
def test_in_a_process_of_its_own(home):
  # Not offline, but nothing would answer: no request is made for what is there.
  queries = (f"{REPO},local", f"{REPO},", "owner/none,local", "owner/none,")
  nobody = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
  one, other, none, refused = found(home, *queries, **nobody)
  assert one == other
  with open(one, "rb") as file:
    assert file.read() == b"weights"
  assert none == "None"
  assert refused.startswith(f"ValueError hub owner/none: found no {FILE} at ")
  assert f"{home}/hub/models--owner--none, " in refused
  assert refused.endswith("(HF_HUB_OFFLINE is set).")


@pytest.fixture
def laid(tmp_path, monkeypatch):
  """Where a repository is sought: as the library keeps it, and by hand."""
  both = (tmp_path / "models--owner--some.name", tmp_path / "owner/some.name")
  monkeypatch.setattr(hub, "places", lambda repo: both)
  monkeypatch.setattr(hub, "download", None)
  return both


def lay(folder, name=FILE):
  folder.mkdir(parents=True)
  (folder / name).write_bytes(b"weights")
  return folder / name


@pytest.mark.parametrize("name", hub.FILES)
@pytest.mark.parametrize(
  "place", ["0/snapshots/main", "0/snapshots/" + COMMIT, "0", "1"]
)
def test_a_cache_laid_by_hand(place, name, laid):
  which, _, inside = place.partition("/")
  path = lay(laid[int(which)] / inside, name)
  assert hub.find(REPO, local_only=False) == path


def test_of_two_snapshots_the_main_one(laid):
  paths = [lay(laid[0] / "snapshots" / name) for name in ("a", "b")]
  with pytest.raises(ValueError, match="found weights in a, b, expected one"):
    hub.on_disk(REPO)
  (laid[0] / "refs").mkdir()
  for name, path in zip(("a", "b\n"), paths, strict=True):
    (laid[0] / "refs/main").write_text(name)
    assert hub.on_disk(REPO) == path
  # What is no name of a folder is not followed.
  for name in ("../../x", "/", "\xff\0"):
    (laid[0] / "refs/main").write_text(name)
    with pytest.raises(ValueError, match="expected one"):
      hub.on_disk(REPO)


def test_what_was_searched_is_named(laid):
  lay(laid[1], "config.json")
  link = laid[0] / "snapshots/main" / FILE
  link.parent.mkdir(parents=True)
  link.symlink_to("../../blobs/gone")
  assert hub.find(REPO, local_only=True) is None
  told = hub.searched(REPO)
  assert f"snapshots/main/{FILE} is a link to nothing: copy blobs" in told
  assert f"{laid[1]} (there, without weights)" in told


def asks(monkeypatch, there, error=None):
  """A hub that has some files, or fails."""
  with hub._quiet():
    from huggingface_hub.errors import EntryNotFoundError
    from transformers.utils import hub as theirs
  asked = []

  def answer(repo, file):
    logging.getLogger("huggingface_hub").warning("Retrying in 8 s")
    warnings.warn("no token", stacklevel=1)
    asked.append(file)
    if error:
      raise error
    if file not in there:
      raise OSError("none") from EntryNotFoundError("none")
    return there[file]

  monkeypatch.setattr(theirs, "cached_file", answer)
  return asked


def test_files_of_an_index_are_downloaded_with_it(tmp_path, monkeypatch):
  monkeypatch.setattr(hub, "places", lambda repo: ())
  index = tmp_path / hub.FILES[1]
  parts = [f"model-{i:05d}-of-00002.safetensors" for i in (1, 2)]
  weights = dict(zip("ab", parts, strict=True))
  index.write_text(json.dumps({"weight_map": weights}))
  there = {index.name: index, **{p: tmp_path / p for p in parts}}
  asked = asks(monkeypatch, there)
  assert hub.find(REPO, local_only=False) == index
  assert asked == [FILE, index.name, *parts]
  asks(monkeypatch, {})
  with pytest.raises(ValueError, match=r"found no pytorch_model\.bin\.index"):
    hub.find(REPO, local_only=False)


@pytest.mark.parametrize("error", [OSError, RuntimeError, KeyError])
def test_whatever_the_network_does_is_one_line(error, monkeypatch, capfd):
  monkeypatch.setattr(hub, "places", lambda repo: ())
  asked = asks(monkeypatch, {}, error("line\n of two"))
  with pytest.raises(ValueError, match=f"hub {REPO}: found no") as told:
    hub.find(REPO, local_only=False)
  assert asked == [FILE]
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
    hub.find(name, local_only=True)


def test_published_names_are_names():
  assert hub.is_name("worstchan/EAT-base_epoch30_pretrain")
  assert hub.is_name("mispeech/dasheng-0.6B")


def test_of_checkpoints_the_latest_is_taken(tmp_path):
  names = ("checkpoint-9.pth", "checkpoint-100.pth", "checkpoint-20.pth")
  for name in (*names, "checkpoint-last.pth", "x-300.pth"):
    (tmp_path / name).touch()
  found = hub.latest(tmp_path, "checkpoint-*.pth")
  assert found == tmp_path / "checkpoint-100.pth"
  assert hub.official_in(tmp_path, names=["y", "checkpoint-*.pth"]) == found
  assert hub.latest(tmp_path, "none-*.pth") is None
