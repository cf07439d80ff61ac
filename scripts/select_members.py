"""Chooses the best members (branch, seed) of a run on a development set.

Run: python scripts/select_members.py --results=OUT --num=10 \
  --output=members.json

OUT is the output of an evaluate run of all members with labelled development
data; results of an evaluation set are refused. The file goes to evaluate.py as
--config.selection=members.json.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli

_RESULTS = flags.DEFINE_string("results", None, "run of all members")
_NUM = flags.DEFINE_integer("num", 10, "members to choose")
_OUTPUT = flags.DEFINE_string("output", None, "selection file to write")


def run(arguments: Sequence[str]) -> None:
  """Chooses and writes."""
  if arguments or not _RESULTS.value or not _OUTPUT.value:
    raise errors.InputError(
      f"flags: found {list(arguments)}, results={_RESULTS.value!r},"
      f" output={_OUTPUT.value!r}; expected --results=OUT --output=FILE."
    )
  from asd_jax.runs import select

  chosen = select.members(Path(_RESULTS.value), _NUM.value)
  select.write(Path(_OUTPUT.value), chosen)
  # The ones left out too: how close the choice was is part of it.
  for mark, rows in (("*", chosen["members"]), (" ", chosen["left_out"])):
    for row in rows:
      score = 100 * row["official_score"]
      print(f"{mark} {row['branch']:12s} seed {row['seed']:6d} {score:7.2f}")
  print(f"{len(chosen['members'])} members: {_OUTPUT.value}")


if __name__ == "__main__":
  cli.main(run)
