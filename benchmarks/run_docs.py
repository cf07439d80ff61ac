"""Runs what the pages tell a reader to type, as it stands there.

Run: bash benchmarks/run_docs.sh
or, with systems shrunk to seconds: bash benchmarks/run_docs.sh --smoke
or of some pages: bash benchmarks/run_docs.sh README.md sweeps.md

Each page gets a folder of its own in which the names that it uses exist: `DIR`
and `DATA` are synthetic challenge folders, `NORMAL_WAVS`, `WAVS_TO_CHECK` and
`folder` hold wave files, and Python files that the page shows lie there too.
Blocks run that stand below `<!-- run -->`; the others say why they do not.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_FENCE = re.compile(r"^```(\w*)$", re.M)
_FILE = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.M | re.S)
_SPAN = re.compile(r"`([^`\n]+)`")
# The words before a command in a docstring.
_BEFORE = re.compile(r"^(?:Run|or)\b[^:]*: +")
_PROGRAM = re.compile(
  r"(python|\.venv/bin/python|bash|asd_jax|pip|[\w/]+\.py) "
)


class Command(NamedTuple):
  """One command as it is printed.

  Attributes:
    place: file that it stands in.
    text: the command on one line.
    mark: of its block, "" where there is none.
  """

  place: Path
  text: str
  mark: str = ""


def _one_line(text: str) -> list[str]:
  """Lines with those that are continued joined."""
  return re.sub(r"\\\n *", "", text).splitlines()


def in_blocks(page: Path) -> list[Command]:
  """Commands of a page's code blocks, in order."""
  text = page.read_text(encoding="utf-8")
  fences = list(_FENCE.finditer(text))
  out = []
  for start, end in zip(fences[::2], fences[1::2], strict=True):
    if start[1] not in ("", "bash"):
      continue
    above = text[: start.start()].splitlines()[-1:]
    mark = above[0] if above and above[0].startswith("<!--") else ""
    block = _one_line(text[start.end() : end.start()])
    out += [Command(page, n, mark) for n in block if _PROGRAM.match(n)]
  return out


def in_spans(page: Path) -> list[Command]:
  """Commands, and flags alone, inside a page's sentences."""
  text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
  spans = _SPAN.findall(text)
  known = lambda s: _PROGRAM.match(s) or s.startswith("--")
  return [Command(page, s) for s in spans if known(s)]


def in_docstring(path: Path) -> list[Command]:
  """Commands of the docstring that `--help` or a config shows."""
  text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
  # What is indented goes on with the line before.
  lines = re.sub(r"(?:\\)?\n +", " ", text).splitlines()
  bare = [_BEFORE.sub("", line) for line in lines]
  return [Command(path, n) for n in bare if _PROGRAM.match(n)]


def own_files(page: Path) -> dict[str, str]:
  """Python files that a page shows, name to text."""
  return dict(_FILE.findall(page.read_text(encoding="utf-8")))


def _make_room(folder: Path, page: Path) -> None:
  """Puts everything into a folder that the page's commands name."""
  from asd_jax.data import synthetic
  from configs import common

  for name in ("scripts", "configs", "benchmarks"):
    (folder / name).symlink_to(ROOT / name)
  (folder / ".venv").symlink_to(sys.prefix)
  for name, text in own_files(page).items():
    (folder / name).write_text(text)
  for name in ("DIR", "DATA"):
    synthetic.write(folder / name, **common.SMOKE_DATA)
  clips = {
    s: sorted((folder / "DIR" / "fan" / s).iterdir()) for s in ("train", "test")
  }
  for name, split in (
    ("NORMAL_WAVS", "train"),
    ("WAVS_TO_CHECK", "test"),
    ("folder", "test"),
  ):
    (folder / name).mkdir()
    for number, path in enumerate(clips[split]):
      shutil.copy(path, folder / name / f"clip {number}.wav")
  shutil.copy(clips["test"][0], folder / "new.wav")


def shrunk(text: str) -> str:
  """The command with its config's small variant."""
  return re.sub(r"(--config=configs/\w+\.py)(?=\s|$)", r"\1:smoke", text)


def run_page(page: Path, *, smoke: bool) -> int:
  """Runs a page's marked commands in order.

  Args:
    page: the page.
    smoke: whether systems are shrunk.

  Returns:
    How many failed.
  """
  commands = [c.text for c in in_blocks(page) if c.mark == "<!-- run -->"]
  if not commands:
    return 0
  failed = 0
  with tempfile.TemporaryDirectory() as temporary:
    # A run of plain folders takes the name of the folder that holds them.
    folder = Path(temporary) / "MACHINE"
    folder.mkdir()
    _make_room(folder, page)
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    for text in commands:
      command = shrunk(text) if smoke else text
      start = time.perf_counter()
      end = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=env, capture_output=True,
        check=False, text=True,
      )  # fmt: skip
      seconds = time.perf_counter() - start
      failed += end.returncode != 0
      print(
        f"{page.name}: {end.returncode} {seconds:6.1f} s  {command}", flush=True
      )
      if end.returncode:
        print(end.stdout + end.stderr, flush=True)
  return failed


def main(arguments: list[str]) -> int:
  """Runs every page, or those that are named."""
  smoke = "--smoke" in arguments
  wanted = [a for a in arguments if a != "--smoke"]
  pages = [p for p in PAGES if p.name in (wanted or [p.name])]
  failed = sum(run_page(p, smoke=smoke) for p in pages)
  left = [c for p in pages for c in in_blocks(p) if c.mark != "<!-- run -->"]
  for command in left:
    print(f"{command.place.name}: left out  {command.text}  {command.mark}")
  return min(failed, 1)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
