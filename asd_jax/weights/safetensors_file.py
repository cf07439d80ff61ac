"""Files in the safetensors format."""

import json
import math
from typing import Any

import ml_dtypes
import numpy as np

from asd_jax.weights import stored_tensor
from asd_jax.weights.byte_source import Source, WeightsFileError, shown
from asd_jax.weights.stored_tensor import Storage, Stored

# A real header has some 100 bytes a tensor.
MAX_HEADER = 16 << 20
DTYPES: dict[str, np.dtype] = {
  "F64": np.dtype(np.float64),
  "F32": np.dtype(np.float32),
  "F16": np.dtype(np.float16),
  "BF16": stored_tensor.BFLOAT16,
  "I64": np.dtype(np.int64),
  "I32": np.dtype(np.int32),
  "I16": np.dtype(np.int16),
  "I8": np.dtype(np.int8),
  "U64": np.dtype(np.uint64),
  "U32": np.dtype(np.uint32),
  "U16": np.dtype(np.uint16),
  "U8": np.dtype(np.uint8),
  "BOOL": np.dtype(np.bool_),
  "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
  "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}


def plausible(source: Source) -> bool:
  """Whether the first bytes can be the length of a header.

  Args:
    source: the open file.

  Returns:
    True if that many bytes follow and they are few.
  """
  if source.size < 8:
    return False
  length = int.from_bytes(source.read(0, 8, "the header length"), "little")
  return 2 <= length <= min(source.size - 8, MAX_HEADER)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """An object of a JSON text; a name that stands twice is refused.

  Args:
    pairs: names and values.

  Returns:
    Values by name.

  Raises:
    WeightsFileError: `json` alone would keep the last one and say nothing.
  """
  found: dict[str, Any] = {}
  for name, value in pairs:
    if name in found:
      raise WeightsFileError(
        f"found the name {shown(name)} twice, expected it once."
      )
    found[name] = value
  return found


def _header(text: bytes) -> dict[str, Any]:
  """The header as an object."""
  try:
    found = json.loads(text.decode(), object_pairs_hook=unique)
  # It is a ValueError itself, and must get past the next line.
  except WeightsFileError:
    raise
  except (ValueError, RecursionError):
    found = None
  if type(found) is not dict:
    raise WeightsFileError(
      "found a header that is no JSON object in UTF-8, expected one."
    )
  return found


def _metadata(found: object) -> dict[str, str]:
  """The metadata of a header."""
  if type(found) is not dict or not all(
    type(value) is str for value in found.values()
  ):
    raise WeightsFileError(
      "found metadata that is not text by name, expected that."
    )
  return found


def _tensor(name: str, found: object, start: int) -> Stored:
  """A tensor as the header describes it; `start` is where the data start."""
  if type(found) is not dict or not {"dtype", "shape", "data_offsets"} <= set(
    found
  ):
    raise WeightsFileError(
      f"found the tensor {shown(name)} without dtype, shape or data_offsets,"
      " expected all three."
    )
  shape, offsets = found["shape"], found["data_offsets"]
  lists = type(shape) is list and type(offsets) is list and len(offsets) == 2
  if (
    not lists
    or len(shape) > stored_tensor.MAX_RANK
    or not all(
      # Not `isinstance`: `true` is an `int` for Python.
      type(n) is int and 0 <= n < 4 * stored_tensor.LIMIT
      for n in shape + offsets
    )
  ):
    raise WeightsFileError(
      f"found the tensor {shown(name)} with a shape or offsets that are not"
      " whole numbers from 0 on, expected such."
    )
  if type(found["dtype"]) is not str or found["dtype"] not in DTYPES:
    raise WeightsFileError(
      f"found the tensor {shown(name)} of dtype {shown(found['dtype'])},"
      f" expected one of {', '.join(DTYPES)}."
    )
  dtype = DTYPES[found["dtype"]]
  count = math.prod(shape)
  begin, end = offsets
  if end - begin != count * dtype.itemsize:
    raise WeightsFileError(
      f"found {end - begin} bytes for the tensor {shown(name)}, expected"
      f" {count} numbers of {dtype}."
    )
  storage = Storage(shown(name), dtype, count, start + begin)
  sizes = tuple(shape)
  strides = stored_tensor.row_major(sizes)
  return stored_tensor.checked(storage, 0, sizes, strides)


def read(source: Source) -> tuple[dict[str, Stored], dict[str, str]]:
  """The tensors of a safetensors file.

  Args:
    source: the open file.

  Returns:
    Tensors by name in the order of the header, and the metadata.

  Raises:
    WeightsFileError: for anything that the format forbids.
  """
  if not plausible(source):
    raise WeightsFileError(
      "found no safetensors header of a length that fits the file, expected"
      " one (is the download complete?)."
    )
  length = int.from_bytes(source.read(0, 8, "the header length"), "little")
  start = 8 + length
  header = _header(source.read(8, length, "the header"))
  metadata = _metadata(header.pop("__metadata__", {}))
  tensors: dict[str, Stored] = {}
  for name, found in header.items():
    tensors[name] = _tensor(name, found, start)
  free = start
  # Tensors without numbers start where the next one does, and come before it.
  for tensor in sorted(
    tensors.values(), key=lambda t: (t.storage.start, t.nbytes)
  ):
    place = tensor.storage.start
    # Bytes that belong to no tensor, or to two, may hold what the header
    # hides.
    if place != free:
      raise WeightsFileError(
        f"found the data of {tensor.storage.name} at byte {place}, expected"
        f" {free}: no gap, no overlap."
      )
    free = place + tensor.nbytes
  if free != source.size:
    raise WeightsFileError(
      f"found {source.size} bytes in the file, expected {free} by its header."
    )
  return tensors, metadata
