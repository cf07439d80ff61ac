"""Lists official weight files, or converts one to our parameters.

Run: python scripts/convert_weights.py --inspect FILE FILE
or:  python scripts/convert_weights.py --encoder=beats --checkpoint=FILE
  --output=weights/beats_base

A file may be a folder with an official file, the index of weights in several
files, or a name on the Hugging Face hub, `owner/name`. Where it holds several
copies of the weights, such as an average, --inspect names them and --copy=NAME
takes one. A file of noise-aware layers needs that of the encoder inside too:
--base=FILE, or a name on the hub.

Nothing in a file is run, whoever made it. PyTorch is not needed.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli

_INSPECT = flags.DEFINE_bool(
  "inspect", False, "list names, types and shapes; write nothing"
)
_ENCODER = flags.DEFINE_string(
  "encoder", None, "name of the encoder, see docs/encoders.md"
)
_CHECKPOINT = flags.DEFINE_multi_string(
  "checkpoint",
  [],
  "official weight file, or owner/name on the Hugging Face hub; the same as a"
  " file without a flag",
)
_OUTPUT = flags.DEFINE_string("output", None, "new folder for the parameters")
_COPY = flags.DEFINE_string(
  "copy",
  "",
  "another copy of the weights in the file, such as an average (EMA), by the"
  " name that --inspect gives it; the start of names in it may follow after /",
)
_BASE = flags.DEFINE_string(
  "base",
  "",
  "weights of the encoder inside noise-aware layers, where their file has none",
)
_PLACEHOLDER = flags.DEFINE_multi_string(
  "placeholder",
  [],
  "exact name (module.name) of an object beside the weights that is skipped;"
  " may be repeated",
)


def run(arguments: Sequence[str]) -> None:
  """Lists the files of the command line, or converts the one there."""
  # One thing at a time: look, or convert a single file.
  goal = bool(_ENCODER.value and _OUTPUT.value)
  given = [*_CHECKPOINT.value, *arguments]
  if not given or goal == _INSPECT.value or (goal and len(given) > 1):
    raise errors.InputError(
      "flags: expected --inspect and files, or --encoder=NAME"
      " --checkpoint=FILE --output=DIR; found"
      f" inspect={_INSPECT.value}, encoder={_ENCODER.value!r},"
      f" output={_OUTPUT.value!r} and {len(given)} files."
    )
  from asd_jax.encoders import convert, describe, zoo
  from asd_jax.weights import folder

  settings = dict(placeholders=_PLACEHOLDER.value, copy=_COPY.value)
  if goal:
    made = convert.convert(
      given[0],
      zoo.find(_ENCODER.value or ""),
      Path(_OUTPUT.value or ""),
      base=_BASE.value,
      **settings,
    )
    for note in folder.read_about(made)["notes"]:
      print(note)
    print(f"parameters: {made}")
    return
  for path in given:
    for line in describe.describe(path, **settings):
      print(line)


if __name__ == "__main__":
  cli.main(run)
