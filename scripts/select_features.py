"""Chooses the features that move least from source to target clips.

Run: python scripts/select_features.py --data_dir=DIR --output=features.json

DIR holds the challenge folders of all machines; only normal training clips are
read, no labels. The file goes to evaluate.py as
--config.feature_selection=features.json.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli

_DATA_DIR = flags.DEFINE_string("data_dir", None, "challenge folders")
_OUTPUT = flags.DEFINE_string("output", None, "selection file to write")
_MODE = flags.DEFINE_string(
  "mode", "count", "'count' drops --num features, 'threshold' by --limit"
)
_NUM = flags.DEFINE_integer("num", 31, "features to drop")
_LIMIT = flags.DEFINE_float("limit", 0.6, "largest distance that is kept")
_MACHINES = flags.DEFINE_list("machines", [], "machines to read; all if empty")


def run(arguments: Sequence[str]) -> None:
  """Chooses and writes."""
  if arguments or not _DATA_DIR.value or not _OUTPUT.value:
    raise errors.InputError(
      f"flags: found {list(arguments)}, data_dir={_DATA_DIR.value!r},"
      f" output={_OUTPUT.value!r}; expected --data_dir=DIR --output=FILE."
    )
  from asd_jax.runs import select

  chosen = select.features(
    Path(_DATA_DIR.value),
    mode=_MODE.value,
    num=_NUM.value,
    limit=_LIMIT.value,
    machines=_MACHINES.value,
  )
  select.write(Path(_OUTPUT.value), chosen)
  # The worst first: they are what a reader wants explained.
  for entry in sorted(chosen["left_out"], key=lambda e: -e["distance"]):
    print(f"left out {entry['name']:16s} {entry['distance']:8.3f}")
  total = len(chosen["kept"]) + len(chosen["left_out"])
  print(f"{len(chosen['kept'])} of {total} features: {_OUTPUT.value}")


if __name__ == "__main__":
  cli.main(run)
