"""Scores clips with a saved detector: `file,score,decision` as csv.

Run: python scripts/score.py --detector=OUT/detectors/fan a.wav b.wav dir/
"""

import sys
from collections.abc import Sequence

from absl import flags

from asd_jax.pipelines import cli

_DETECTOR = flags.DEFINE_string(
  "detector", None, "folder OUT/detectors/<machine> of an evaluate run"
)
_SECTION = flags.DEFINE_string(
  "section", None, "section of the clips, where names do not say it"
)


def run(arguments: Sequence[str]) -> None:
  """Scores the files and folders of the command line."""
  if not _DETECTOR.value or not arguments:
    raise ValueError(
      "flags: expected --detector=OUT/detectors/<machine> and files or folders,"
      f" found detector={_DETECTOR.value!r} and {len(arguments)} paths."
    )
  from asd_jax.pipelines import score

  for text, notes in score.run(
    _DETECTOR.value, arguments, section=_SECTION.value
  ):
    sys.stdout.write(text)
    for note in notes:
      print(note, file=sys.stderr)


if __name__ == "__main__":
  cli.main(run)
