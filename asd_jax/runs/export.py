"""Writes a detector, with all that it needs, into one file."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors
from asd_jax.encoders import load, places
from asd_jax.engine import detector, encode, lowering, portable, session
from asd_jax.engine import section as section_lib
from asd_jax.runs import cli

# Of training clips; each is a program for processors and one for other devices.
MOST_LENGTHS = 4
# Settings that name places on the machine of the run.
_PLACES = (
  *("data_dir", "normal", "test", "ground_truth", "output_dir"),
  *("training_dir", "weights_dir", "checkpoints", "selection"),
  "feature_selection",
)
_PACKAGES = ("asd_jax", "jax", "jaxlib")


class Written(NamedTuple):
  """What was written.

  Attributes:
    text: one line for people.
    notes: what else they should know.
  """

  text: str
  notes: list[str]


def run(folder: str, file: str, *, seconds: Sequence[float] = ()) -> Written:
  """Writes a detector into one file.

  Args:
    folder: `OUT/detectors/<machine>` of an evaluate run.
    file: the file; one that is there is replaced.
    seconds: lengths of the clips that it will score; those of the training
      clips if none is given.

  Returns:
    What to tell.

  Raises:
    InputError: for a bad detector, lengths that it does not take, and a file
      that cannot be written.
  """
  place = Path(folder)
  found = detector.load(place)
  opened = session.of_detector(found, place)
  rate = found.config["sample_rate"]
  lengths, notes = [round(s * rate) for s in seconds], []
  if not lengths:
    lengths, notes = _lengths(place, found.sections, rate)
  _check(found, lengths, rate)
  sections = {
    name: lowering.section(
      section,
      found.system,
      opened.kept,
      lengths=lengths,
      batch_size=opened.batch_size,
    )
    for name, section in found.sections.items()
  }
  weights = [_about_weights(n, w) for n, w in opened.kept.items()]
  versions = {p: cli.version(p) for p in _PACKAGES}
  whole = portable.Detector(
    found.machine,
    {k: v for k, v in found.config.items() if k not in _PLACES},
    sections,
    opened.batch_size,
    encode.num_channels(found.system.branches),
    {
      "versions": {**versions, "python": platform.python_version()},
      "weights": weights,
    },
  )
  size = portable.write(Path(file), whole)
  notes += [f"{w['name']}: {w['family']}: {w['licence']}" for w in weights]
  return Written(_text(file, size, whole), notes)


def _lengths(
  folder: Path, sections: Mapping[str, section_lib.Section], rate: int
) -> tuple[list[int], list[str]]:
  """Lengths of windows and the commonest of clips; a note if there are more."""
  counted: dict[int, int] = {}
  for section in sections.values():
    for length, num in section.facts.get("lengths", {}).items():
      counted[int(length)] = counted.get(int(length), 0) + num
  if not counted:
    raise errors.InputError(
      f"{folder}: found a detector that does not say how long its training"
      " clips were, expected --seconds=... (of the clips to score)."
    )
  cuts = [s.facts["windows"] for s in sections.values() if "windows" in s.facts]
  windows = {round(cut["window_seconds"] * rate) for cut in cuts}
  common = sorted(counted, key=lambda n: -counted[n])[:MOST_LENGTHS]
  chosen = sorted(windows | set(common))
  if counted.keys() <= set(chosen):
    return chosen, []
  told = ", ".join(f"{n / rate:g}" for n in chosen)
  return chosen, [
    f"training clips have {len(counted)} lengths; the file takes clips of"
    f" {told} s (--seconds=... names others)"
  ]


def _check(found: detector.Detector, lengths: Sequence[int], rate: int) -> None:
  """Refuses lengths that the system does not take."""
  branches = found.system.branches
  least = encode.min_samples(branches)
  for num in lengths:
    if num < least:
      raise errors.InputError(
        f"--seconds: found {num / rate:g}, this detector expects at least"
        f" {least / rate:g} (one input of the encoder)."
      )
    try:
      encode.check_length(branches, num)
    except errors.InputError as e:
      raise errors.InputError(f"--seconds: {e}") from e


def _about_weights(name: str, weights: load.Loaded) -> dict[str, Any]:
  """What is known of an encoder's weights."""
  network = weights.encoder.about
  source = places.source_of(weights.encoder)
  return {
    "name": name,
    "family": network.family.title,
    "settings": {k: str(v) for k, v in network.settings.items()},
    "digest": weights.digest,
    "num_parameters": weights.size,
    "licence": source.licence if source else "no licence known",
  }


def _text(file: str, size: int, whole: portable.Detector) -> str:
  rate, able = whole.config["sample_rate"], portable.window()
  lengths = portable.lengths(list(whole.sections.values()))
  seconds = " or ".join(f"{n / rate:g}" for n in lengths)
  return (
    f"{file}: {size / 1e6:.2f} MB; {whole.machine}, section"
    f" {', '.join(whole.sections)}; clips of {seconds} s at {rate} Hz; jaxlib"
    f" {able['at_least']} or later, below {able['below']}"
  )
