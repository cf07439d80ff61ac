"""Detectors of one file: programs, numbers and what is known of them.

The file is in the safetensors format: arrays and one JSON text. Programs are
among the arrays, as compressed StableHLO; nothing else in it is ever run. What
reads it needs no config and none of the code that the detector was made with.
"""

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jaxlib.version
import numpy as np
import safetensors.numpy

from asd_jax import errors, files, store
from asd_jax.engine import crossfit, decide
from asd_jax.engine import section as section_lib
from asd_jax.typing import Array
from asd_jax.weights import safetensors_file, stored_tensor
from asd_jax.weights.byte_source import Source, WeightsFileError

KIND = "asd_jax detector"
FORMAT = 1
# Of a program; one of a large encoder has some 10 MB.
_MOST_BYTES = 1 << 28
# What `jax.export` promises, half a year, is two of jaxlib's minor versions.
_MINORS = 2
# What p-values need of the models of folds.
PAST = crossfit.Folds._fields[1:]


class Program(NamedTuple):
  """What is done to a batch of clips of one length.

  Attributes:
    num_samples: samples S of a clip.
    platforms: that it is for, in order, of jax's "cpu", "cuda" and "tpu".
    code: StableHLO in its portable form.
    kept: which arguments it takes: those of `Model`, the samples `[B, C, S]`
      and the number `[]` of clips among the B rows.
    convention: version of jax's calling convention.
    global_constants: whether jax fills in constants of the platform.
  """

  num_samples: int
  platforms: tuple[str, ...]
  code: bytes
  kept: tuple[int, ...]
  convention: int
  global_constants: bool


class Model(NamedTuple):
  """What stands for the state of a section.

  Attributes:
    arguments: arrays; several of one shape make one argument with a new
      leading axis.
    programs: by length and platform.
  """

  arguments: tuple[tuple[np.ndarray, ...], ...]
  programs: tuple[Program, ...]


class Answer(NamedTuple):
  """What a program says of a batch.

  Attributes:
    score: `[B]` anomaly scores.
    p_value: `[B]` float32; NaN without models of folds.
    by_fold: `[B, K]` scores by the models of folds.
  """

  score: Array
  p_value: Array
  by_fold: Array


class Detector(NamedTuple):
  """A detector of one file.

  Attributes:
    machine: machine type.
    config: of the system it was made of; nothing is built of it.
    sections: section to what is fitted; states are `Model`.
    batch_size: rows B of a batch.
    num_channels: channels C of a clip.
    about: where it comes from: versions, digests, licences.
  """

  machine: str
  config: dict[str, Any]
  sections: dict[str, section_lib.Section]
  batch_size: int
  num_channels: int
  about: dict[str, Any]


def window() -> dict[str, str]:
  """The versions of jaxlib that run what this one writes.

  Returns:
    `at_least` this version, and `below`.
  """
  here = jaxlib.version.__version__
  major, minor, _ = _numbers(here)
  return {"at_least": here, "below": f"{major}.{minor + _MINORS + 1}.0"}


def _numbers(version: str) -> tuple[int, ...]:
  found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
  if not found:
    raise ValueError(f"version {version!r}")
  return tuple(map(int, found.groups()))


def write(path: Path, detector: Detector) -> int:
  """Writes a file.

  Args:
    path: the file; one that is there is replaced.
    detector: what to write.

  Returns:
    Its size in bytes.

  Raises:
    InputError: if it cannot be written.
  """
  arrays: dict[str, np.ndarray] = {}
  names: dict[int, str] = {}

  def name_of(x: np.ndarray) -> str:
    # One array of several models is there once.
    if id(x) not in names:
      names[id(x)] = f"{len(names)}"
      arrays[names[id(x)]] = np.asarray(x, order="C")
    return names[id(x)]

  def of_program(program: Program) -> dict[str, Any]:
    name = f"program {store.digest(program.code)}"
    packed = zlib.compress(program.code, 9)
    arrays[name] = np.frombuffer(packed, np.uint8)
    size = len(program.code)
    return {**program._asdict(), "code": name, "num_bytes": size}

  index = {**detector._asdict(), "sections": {}}
  for section, own in detector.sections.items():
    folds = own.folds
    index["sections"][section] = {
      "threshold": own.limit,
      "rule": own.rule._asdict(),
      "facts": own.facts,
      "arguments": [[name_of(x) for x in xs] for xs in own.state.arguments],
      "programs": [of_program(p) for p in own.state.programs],
      "past": folds and {f: name_of(getattr(folds, f)) for f in PAST},
    }
  head = {"kind": KIND, "format": FORMAT, "jaxlib": window(), **index}
  text = json.dumps(head, allow_nan=False)
  marks = {"about": text, "digest": store.digest(text, arrays)}
  data = safetensors.numpy.save(arrays, marks)
  files.atomic_write_bytes(path, data)
  return len(data)


def read(path: Path) -> Detector:
  """Reads a file.

  Args:
    path: written by `write`.

  Returns:
    The detector.

  Raises:
    InputError: if it is damaged, foreign, or for other versions of jaxlib.
  """
  expected = "expected a file that asd_jax export wrote"
  try:
    with Source(path) as source:
      tensors, marks = safetensors_file.read(source)
      arrays = {n: stored_tensor.load(source, t) for n, t in tensors.items()}
  except WeightsFileError as e:
    what = str(e).partition(", expected")[0]
    raise errors.InputError(f"{path}: {what}, {expected}.") from e
  text = marks.get("about", "")
  if marks.get("digest") != store.digest(text, arrays):
    raise errors.InputError(f"{path}: found damaged content, {expected}.")
  try:
    index = json.loads(text)
    if index["kind"] != KIND:
      raise KeyError("kind")
    _check_versions(path, index)
    return _rebuilt(index, arrays)
  except errors.InputError as e:
    named = str(path) in str(e)
    raise errors.InputError(e if named else f"{path}: {e}") from e
  # Whoever wrote it may have put anything where a value is expected.
  except (
    *(ArithmeticError, AttributeError, LookupError, RecursionError),
    *(TypeError, ValueError, zlib.error),
  ) as e:
    raise errors.InputError(
      f"{path}: found damaged content ({e!r}), {expected}."
    ) from e


def _check_versions(path: Path, index: Mapping[str, Any]) -> None:
  if index["format"] != FORMAT:
    raise errors.InputError(
      f"{path}: found format {index['format']!r}, this version reads {FORMAT};"
      " run asd_jax export again."
    )
  here, able = jaxlib.version.__version__, index["jaxlib"]
  least, below = able["at_least"], able["below"]
  if not _numbers(least) <= _numbers(here) < _numbers(below):
    raise errors.InputError(
      f"{path}: found jaxlib {here}, expected {least} or later, below {below},"
      " which this file was exported for; install such a jax or run asd_jax"
      " export again."
    )


def _rebuilt(
  index: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Detector:
  sections = {
    name: _section(entry, arrays) for name, entry in index["sections"].items()
  }
  size, channels = index["batch_size"], index["num_channels"]
  whole = (size, channels, index["config"]["sample_rate"])
  if not sections or not all(type(n) is int and n > 0 for n in whole):
    raise ValueError("sections or sizes")
  about = dict(index["about"])
  return Detector(
    str(index["machine"]), index["config"], sections, size, channels, about
  )


def _section(
  entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> section_lib.Section:
  arguments = tuple(
    tuple(arrays[n] for n in names) for names in entry["arguments"]
  )
  programs = tuple(_program(p, arrays) for p in entry["programs"])
  folds = None
  if entry["past"] is not None:
    past = {f: arrays[entry["past"][f]] for f in PAST}
    shapes = {x.shape for x in past.values()}
    if len(shapes) != 1 or past["fold"].min() < 0:
      raise ValueError("models of folds")
    folds = crossfit.Folds((), **past)
  rule = decide.read_rule({"threshold": entry["rule"]})
  out = section_lib.Section(
    Model(arguments, programs), folds, entry["threshold"], rule, entry["facts"]
  )
  out.about()  # which misses what an edited index has lost
  return out


def _program(
  entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Program:
  size = entry["num_bytes"]
  if not 0 < size <= _MOST_BYTES:
    raise ValueError(f"a program of {size} bytes")
  unpacked = zlib.decompressobj()
  code = unpacked.decompress(arrays[entry["code"]].tobytes(), size)
  if len(code) != size or not unpacked.eof:
    raise ValueError("a program of another size")
  return Program(
    entry["num_samples"],
    tuple(entry["platforms"]),
    code,
    tuple(entry["kept"]),
    entry["convention"],
    entry["global_constants"],
  )


def lengths(sections: Sequence[section_lib.Section]) -> list[int]:
  """Samples of the clips that some sections take, ascending."""
  return sorted({p.num_samples for s in sections for p in s.state.programs})
