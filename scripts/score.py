"""Scores clips with a saved detector: `file,score,decision` as csv.

Run: python scripts/score.py --detector=OUT/detectors/fan a.wav b.wav dir/
or:  python scripts/score.py --detector=OUT/detectors/fan --watch=dir/

With --watch, files are scored as they arrive, until ctrl-c. A file counts as
complete when it stayed the same between two looks.
"""

import math
from collections.abc import Sequence

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli

_DETECTOR = flags.DEFINE_string(
  "detector", None, "folder OUT/detectors/<machine> of an evaluate run"
)
_SECTION = flags.DEFINE_string(
  "section", None, "section of the clips, where names do not say it"
)
_WATCH = flags.DEFINE_string(
  "watch", None, "folder whose wave files are scored as they arrive"
)
_INTERVAL = flags.DEFINE_float(
  "interval_seconds", 2.0, "with --watch: time between two looks"
)
_ONCE = flags.DEFINE_bool(
  "once", False, "with --watch: end when every file is scored or skipped"
)
_MAX = flags.DEFINE_float(
  "max_seconds", math.inf, "with --watch: end after this time"
)


def _watch(detector: str, folder: str) -> None:
  """Scores the files of a folder as they arrive."""
  # Before the detector is loaded, which takes seconds.
  for flag in (_INTERVAL, _MAX):
    if not flag.value > 0.0:
      raise errors.InputError(
        f"flags: --{flag.name}: found {flag.value}, expected above 0."
      )
  from asd_jax import files
  from asd_jax.data import score_table
  from asd_jax.runs import score, watch

  scorer = score.Scorer(detector, section=_SECTION.value)
  watched = watch.Watch(scorer, folder)
  # Line by line: who reads the pipe waits for each.
  show = lambda text: print(text, end="", flush=True)
  show(score_table.text([]))
  try:
    for event in watch.run(
      watched,
      interval_seconds=_INTERVAL.value,
      max_seconds=_MAX.value,
      once=_ONCE.value,
    ):
      if event.row is not None:
        show(files.csv_text([event.row]))
      if event.note:
        cli.tell(event.note)
  except KeyboardInterrupt:
    # Ctrl-c is how a watch ends: its summary is due all the same.
    cli.tell(watched.summary())
    raise
  cli.tell(watched.summary())


def _score(detector: str, paths: Sequence[str]) -> None:
  """Scores files and folders."""
  from asd_jax.runs import progress, score

  bars = progress.Progress()
  result = score.run(detector, paths, section=_SECTION.value, progress=bars)
  print(result.text, end="", flush=True)
  for text in (*result.notes, result.summary):
    cli.tell(text)


def run(arguments: Sequence[str]) -> None:
  """Scores the files and folders of the command line, or watches one."""
  if not _DETECTOR.value or bool(arguments) == bool(_WATCH.value):
    raise errors.InputError(
      "flags: expected --detector=OUT/detectors/<machine> and files or folders"
      f" (or one --watch=DIR instead), found detector={_DETECTOR.value!r},"
      f" watch={_WATCH.value!r} and {len(arguments)} paths."
    )
  if _WATCH.value:
    _watch(_DETECTOR.value, _WATCH.value)
  else:
    _score(_DETECTOR.value, arguments)


if __name__ == "__main__":
  cli.main(run)
