"""Files of the Hugging Face hub, from its folder on disk or downloaded."""

import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from asd_jax import errors
from asd_jax.weights import shards
from asd_jax.weights.byte_source import Source

# Files with the weights of a repository, the first that is there is taken.
FILES = (
  "model.safetensors",
  f"model.safetensors{shards.SUFFIX}",
  "pytorch_model.bin",
  f"pytorch_model.bin{shards.SUFFIX}",
)
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def is_name(text: str) -> bool:
  """Whether a text can be `owner/name` on the hub.

  Args:
    text: anything.

  Returns:
    True if it can.
  """
  return _NAME.fullmatch(text) is not None and ".." not in text


def _check_name(repo: str) -> None:
  if not is_name(repo):
    raise errors.InputError(
      f"found the hub name {repo!r}, expected owner/name."
    )


@contextmanager
def _quiet() -> Iterator[None]:
  """Retries and missing optional packages are not what a user asked about."""
  before = logging.root.manager.disable
  logging.disable(logging.WARNING)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      yield
  finally:
    logging.disable(before)


def places(repo: str) -> tuple[Path, ...]:
  """Where a repository is sought on disk.

  `HF_HOME` and `HF_HUB_CACHE` are honoured.

  Args:
    repo: `owner/name`.

  Returns:
    Folders, which need not be there: as the hub's library makes them, and as
    they are laid by hand.
  """
  from huggingface_hub import constants

  roots = dict.fromkeys((constants.HF_HUB_CACHE, constants.HF_HOME))
  names = (f"models--{repo.replace('/', '--')}", repo)
  return tuple(Path(root) / name for root in roots for name in names)


def official_in(folder: Path, *, names: Iterable[str] = FILES) -> Path | None:
  """The official file in a folder, perhaps one of the hub's.

  Args:
    folder: with the file, or with `snapshots` of a repository, as the hub's
      library keeps them; what `refs/main` names comes first.
    names: of files, or patterns of them; the first that is there is taken.

  Returns:
    The file; None if there is none.

  Raises:
    InputError: several snapshots have one, and nothing tells which is meant.
  """
  names = tuple(names)
  snapshots = folder / "snapshots"
  main = _main(folder)
  for place in (*([snapshots / main] if main else []), folder):
    if found := _first(place, names):
      return found
  each = sorted(snapshots.iterdir()) if snapshots.is_dir() else []
  found = [path for place in each if (path := _first(place, names))]
  if len({path.resolve() for path in found}) > 1:
    several = ", ".join(path.parent.name for path in found[:5])
    raise errors.InputError(
      f"{snapshots}: found weights in {several}, expected one snapshot, or its"
      " name in refs/main: name the file itself."
    )
  return found[0] if found else None


def _main(folder: Path) -> str:
  """Name of the snapshot that `refs/main` tells; "" without one."""
  try:
    text = (folder / "refs" / "main").read_text().strip()
  except (OSError, ValueError):
    return ""
  # It must not lead out of the folder.
  return text if re.fullmatch(r"\w[\w.-]*", text, re.ASCII) else ""


def latest(folder: Path, pattern: str) -> Path | None:
  """What fits a pattern; of several, as training leaves them, the latest.

  Args:
    folder: where it is.
    pattern: of names there, such as `checkpoint-*.pth`.

  Returns:
    The path with the highest number at the end of its name, or none.
  """

  def number(path: Path) -> tuple[int, str]:
    digits = re.search(r"\d+$", path.stem)
    return int(digits[0]) if digits else -1, path.name

  return max(folder.glob(pattern), key=number, default=None)


def _first(folder: Path, names: Iterable[str]) -> Path | None:
  found = (latest(folder, name) for name in names)
  return next((path for path in found if path and path.is_file()), None)


def on_disk(repo: str) -> Path | None:
  """Finds the weights of a repository without the network.

  Args:
    repo: `owner/name`.

  Returns:
    The file; None if there is none.

  Raises:
    InputError: see `official_in`; or `repo` is no such name.
  """
  _check_name(repo)
  found = (official_in(place) for place in places(repo))
  return next((path for path in found if path), None)


def searched(repo: str) -> str:
  """Where a repository was sought on disk, and what was there instead.

  Args:
    repo: `owner/name`.

  Returns:
    Text on one line.
  """
  told = []
  for place in places(repo):
    inside = [p for p in place.rglob("*") if p.name in FILES]
    broken = [p for p in inside if p.is_symlink() and not p.exists()]
    what = " (there, without weights)" if place.is_dir() else ""
    if broken:
      link = broken[0].relative_to(place)
      what = f" ({link} is a link to nothing: copy blobs, too)"
    told.append(f"{place}{what}")
  return ", ".join(told)


def find(repo: str, *, local_only: bool) -> Path | None:
  """Finds the weights of a repository, or downloads them.

  What is on disk is taken without asking the network.

  Args:
    repo: `owner/name`.
    local_only: only look on disk.

  Returns:
    The file, or the index of several; None if it is not on disk and
    `local_only`.

  Raises:
    InputError: if it cannot be downloaded; see also `on_disk`.
  """
  found = on_disk(repo)
  if found or local_only:
    return found
  for name in FILES:
    path = download(repo, name, may_lack=name != FILES[-1])
    if path is None:
      continue
    if shards.is_index(path):
      with Source(path) as source:
        for part in shards.read_index(source).files:
          download(repo, part)
    return path
  return None


def download(repo: str, file: str, *, may_lack: bool = False) -> Path | None:
  """Downloads a file of the hub, or finds it where it was downloaded.

  `HF_HOME`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE` are honoured.

  Args:
    repo: `owner/name`.
    file: name in its folder.
    may_lack: whether the repository need not have it.

  Returns:
    The file; None if the repository has none and `may_lack`.

  Raises:
    InputError: if it cannot be downloaded, or `repo` is no such name.
  """
  _check_name(repo)
  with _quiet():
    from huggingface_hub.errors import EntryNotFoundError
    from transformers.utils import hub  # seconds to import

    try:
      return Path(cast(str, hub.cached_file(repo, file)))
    except Exception as error:  # whatever a network can do
      offline = hub.is_offline_mode()
      lacking = isinstance(error.__cause__, EntryNotFoundError)
      if may_lack and lacking and not offline:
        return None
      reason = " ".join(str(error).split())[:200]
      if offline:
        reason = "HF_HUB_OFFLINE is set"
      raise errors.InputError(
        f"hub {repo}: found no {file} at {searched(repo)} and none to download,"
        f" expected one ({reason})."
      ) from None
