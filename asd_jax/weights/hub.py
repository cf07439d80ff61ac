"""Files of the Hugging Face hub, from its folder on disk or downloaded."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from asd_jax import errors

_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def is_name(text: str) -> bool:
  """Whether a text can be `owner/name` on the hub.

  Args:
    text: anything.

  Returns:
    True if it can.
  """
  return _NAME.fullmatch(text) is not None and ".." not in text


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


def cached(repo: str, file: str, *, local_only: bool) -> Path | None:
  """Finds a file of the hub.

  `HF_HOME`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE` are honoured. What is on disk
  is taken without asking the network.

  Args:
    repo: `owner/name`.
    file: name in its folder.
    local_only: only look on disk.

  Returns:
    The file; None if it is not on disk and `local_only`.

  Raises:
    InputError: if it cannot be downloaded, or `repo` is no such name.
  """
  if not is_name(repo):
    raise errors.InputError(
      f"found the hub name {repo!r}, expected owner/name."
    )
  with _quiet():
    from transformers.utils import hub  # seconds to import

    fetch = lambda local: cast(
      str, hub.cached_file(repo, file, local_files_only=local)
    )
    try:
      return Path(fetch(True))
    except OSError:
      if local_only:
        return None
    try:
      return Path(fetch(False))
    except Exception as error:  # whatever a network can do
      reason = " ".join(str(error).split())[:200]
      if hub.is_offline_mode():
        reason = "HF_HUB_OFFLINE is set"
      raise errors.InputError(
        f"hub {repo}: found no {file} on disk and none to download, expected"
        f" one ({reason})."
      ) from None
