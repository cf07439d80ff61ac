"""Writes a detector with all that it needs into one file, to take elsewhere.

Run: python scripts/export.py OUT/detectors/fan fan.asd
then: python scripts/score.py --detector=fan.asd a.wav b.wav dir/
"""

from collections.abc import Sequence

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli

_SECONDS = flags.DEFINE_list(
  "seconds",
  [],
  "lengths of the clips to score; those of the training clips if none is given",
)


def run(arguments: Sequence[str]) -> None:
  """Exports the detector of the command line."""
  if len(arguments) != 2:
    raise errors.InputError(
      "arguments: expected OUT/detectors/<machine> and a file to write, found"
      f" {len(arguments)}: {' '.join(arguments)!r}."
    )
  try:
    seconds = [float(s) for s in _SECONDS.value]
  except ValueError:
    seconds = [0.0]
  if not all(0.0 < s < float("inf") for s in seconds):
    raise errors.InputError(
      f"flags: --seconds: found {','.join(_SECONDS.value)}, expected numbers"
      " above 0."
    )
  from asd_jax.runs import export

  folder, file = arguments
  done = export.run(folder, file, seconds=seconds)
  print(done.text, flush=True)
  for note in done.notes:
    cli.tell(note)


if __name__ == "__main__":
  cli.main(run)
