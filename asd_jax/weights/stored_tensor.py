"""A tensor in a file: where its numbers lie, checked, and how to load it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, cast

import ml_dtypes
import numpy as np

from asd_jax.weights.byte_source import Source, WeightsFileError, shown

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# What views of one storage may need beyond the bytes of the file.
SPARE_BYTES = 64 << 20
# Sizes of made files must not cost time: products of them stay short.
MAX_RANK = 32
LIMIT = 1 << 62


@dataclass(slots=True, eq=False)
class Storage:
  """Numbers in a row in a file.

  Attributes:
    name: for messages.
    dtype: of one number, in this machine's byte order.
    count: how many.
    start: byte in the file; -1 while it is not known.
    swapped: they are stored in the other byte order.
  """

  name: str
  dtype: np.dtype
  count: int
  start: int = -1
  swapped: bool = False


class Stored(NamedTuple):
  """A tensor in a file, not loaded.

  Attributes:
    storage: its numbers, perhaps shared with other tensors.
    offset: of its first number in the storage.
    shape: its shape.
    strides: steps in the storage along each axis, in numbers.
  """

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]

  @property
  def dtype(self) -> np.dtype:
    """Type of its numbers."""
    return self.storage.dtype

  @property
  def extent(self) -> int:
    """Numbers of the storage from its first to its last one."""
    if 0 in self.shape:
      return 0
    pairs = zip(self.shape, self.strides, strict=True)
    return 1 + sum((num - 1) * step for num, step in pairs)

  @property
  def nbytes(self) -> int:
    """Bytes that it needs when loaded."""
    return math.prod(self.shape) * self.dtype.itemsize


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
  """Strides of numbers that lie in the order of their indices.

  Args:
    shape: of the tensor.

  Returns:
    One stride an axis.
  """
  return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _check_sizes(name: str, values: Iterable[object]) -> None:
  """Raises unless all are integers from zero on, and no larger than files."""
  for value in values:
    if type(value) is not int or not 0 <= value < LIMIT:
      found = value if type(value) in (int, bool, float) else shown(value)
      raise WeightsFileError(
        f"found {found} as a size, stride or offset in storage {name},"
        " expected integers from 0 on."
      )


def checked(
  storage: Storage, offset: object, shape: object, strides: object
) -> Stored:
  """A tensor on a storage, after all checks that need no data.

  Args:
    storage: its numbers.
    offset: of the first one.
    shape: tuple of sizes.
    strides: tuple of steps, one a size.

  Returns:
    The tensor.

  Raises:
    WeightsFileError: they are no integers, reach outside the storage, or make
      a large tensor out of few numbers.
  """
  if type(shape) is not tuple or type(strides) is not tuple:
    raise WeightsFileError(
      f"found {type(shape).__name__} and {type(strides).__name__} as size and"
      f" stride in storage {storage.name}, expected tuples."
    )
  _check_sizes(storage.name, [offset, *shape, *strides])
  if len(shape) != len(strides) or len(shape) > MAX_RANK:
    raise WeightsFileError(
      f"found {len(shape)} sizes and {len(strides)} strides in storage"
      f" {storage.name}, expected as many, {MAX_RANK} at most."
    )
  tensor = Stored(storage, cast(int, offset), shape, strides)
  if tensor.extent and tensor.offset + tensor.extent > storage.count:
    raise WeightsFileError(
      f"found a tensor that reaches number {tensor.offset + tensor.extent} of"
      f" storage {storage.name}, expected at most {storage.count}."
    )
  # Strides of zero make a large tensor of few numbers. That is fine for small
  # ones; beyond, a short file must not take all memory.
  least = math.prod(max(num, 1) for num in shape) * storage.dtype.itemsize
  expanded = math.prod(shape) > storage.count and tensor.nbytes > SPARE_BYTES
  if expanded or least > LIMIT:
    raise WeightsFileError(
      f"found a tensor of {least} bytes on the {storage.count} numbers of"
      f" storage {storage.name}, expected no more than it holds."
    )
  return tensor


def check_total(tensors: Iterable[Stored], size: int) -> None:
  """Raises if tensors need far more memory than their file has bytes.

  Args:
    tensors: all of a file.
    size: bytes of the file.

  Raises:
    WeightsFileError: they need more than twice the file and 64 MiB.
  """
  most = 2 * size + SPARE_BYTES
  total = 0
  for tensor in tensors:
    total += max(tensor.nbytes, tensor.extent * tensor.dtype.itemsize)
    if total > most:
      raise WeightsFileError(
        f"found tensors of more than {most} bytes in a file of {size} bytes,"
        " expected views of shared numbers to be few."
      )


def load(source: Source, tensor: Stored) -> np.ndarray:
  """Reads a tensor.

  Args:
    source: the open file.
    tensor: where it lies.

  Returns:
    An array of its own, row-major and writable, in this machine's byte order;
    `ml_dtypes.bfloat16` where the file has bfloat16.

  Raises:
    WeightsFileError: the file does not hold it.
  """
  storage, item = tensor.storage, tensor.dtype.itemsize
  if not tensor.extent:
    return np.empty(tensor.shape, tensor.dtype)
  start, count = storage.start + tensor.offset * item, tensor.extent * item
  source.check_range(start, count, f"storage {storage.name}")
  raw = source.fill(start, np.empty(count, np.uint8))
  if storage.swapped:
    # The two parts of a complex number are swapped each on its own.
    unit = item // 2 if tensor.dtype.kind == "c" else item
    raw = raw.view(f"u{unit}").byteswap(inplace=True).view(np.uint8)
  # NumPy knows no other bytes than 0 and 1 as truth values.
  if tensor.dtype == np.bool_:
    raw = (raw != 0).view(np.uint8)
  flat = raw.view(tensor.dtype)
  if tensor.strides == row_major(tensor.shape):
    return flat.reshape(tensor.shape)
  strides = tuple(step * item for step in tensor.strides)
  # NumPy checks nothing here; `checked` has, when the tensor was made.
  view = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides)
  return view.copy()
