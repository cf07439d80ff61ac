"""Scores clips with a saved detector: `file,score,decision,p_value` as csv.

Run: python scripts/score.py --detector=OUT/detectors/fan a.wav b.wav dir/
or:  python scripts/score.py --detector=OUT/detectors/fan --watch=dir/
or:  python scripts/score.py --detector=OUT/detectors/fan --stream=- < raw

With --watch, files are scored as they arrive, until ctrl-c; with --stream,
windows of raw samples from standard input: docs/watching.md.
"""

import math
from collections.abc import Sequence
from typing import Any

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli

flags.DEFINE_string(
  "detector", None, "folder OUT/detectors/<machine>, or a file of export.py"
)
flags.DEFINE_string("section", None, "section of clips, where names say none")
flags.DEFINE_string(
  "watch", None, "folder whose wave files are scored as they arrive"
)
flags.DEFINE_float("interval_seconds", 2.0, "watch: time between two looks")
flags.DEFINE_bool(
  "once", False, "watch: end when every file is scored or skipped"
)
flags.DEFINE_float("max_seconds", math.inf, "watch: end after this time")
flags.DEFINE_string(
  "state",
  None,
  "watch: file that remembers what was scored, in the detector's folder if not"
  " given; nothing is remembered if empty",
)
flags.DEFINE_string("stream", None, "-: 16-bit samples from standard input")
flags.DEFINE_integer("stream_rate", None, "stream: Hz; else the detector's")
flags.DEFINE_integer("stream_channels", None, "stream: else the detector's")
flags.DEFINE_float("window_seconds", None, "stream: else the detector's")
flags.DEFINE_float("hop_seconds", None, "stream: from window to window")
flags.DEFINE_integer(
  "alarm_after", None, "suspicious clips in a row that make an alarm; else 3"
)
flags.DEFINE_string(
  "on_alarm", "", "what an alarm calls: 'command {file} {score} {p} {seconds}'"
)
flags.DEFINE_string(
  "log", "", "watch, stream: file that gets a line of JSON for all that happens"
)
flags.DEFINE_string("windows", "", "csv of windows of long recordings to write")


def _score(paths: Sequence[str]) -> int:
  """Scores files and folders."""
  from asd_jax.runs import progress, score

  given = flags.FLAGS
  result = score.run(
    given.detector,
    paths,
    section=given.section,
    windows=given.windows,
    progress=progress.Progress(),
  )
  print(result.text, end="", flush=True)
  for text in result.said():
    cli.tell(text)
  return cli.BAD_INPUT if result.problems else 0


def run(arguments: Sequence[str]) -> int:
  """Scores the files and folders of the command line, or what is to come."""
  given = flags.FLAGS
  sources = [bool(arguments), bool(given.watch), bool(given.stream)]
  if not given.detector or sum(sources) != 1:
    raise errors.InputError(
      "flags: expected --detector=OUT/detectors/<machine> and files or folders"
      " (or one --watch=DIR or --stream=- instead), found"
      f" detector={given.detector!r}, stream={given.stream!r},"
      f" watch={given.watch!r} and {len(arguments)} paths."
    )
  if arguments:
    return _score(arguments)
  from asd_jax.runs import live

  found: Any = {name: given[name].value for name in live.Options._fields}
  live.run(
    live.Options(**found),
    lambda text: print(text, end="", flush=True),
    cli.tell,
  )
  return 0


if __name__ == "__main__":
  cli.main(run)
