"""Files that `torch.save` wrote, of all times, read without PyTorch."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from asd_jax.weights import restricted_pickle, stored_tensor, zip_entries
from asd_jax.weights.byte_source import Source, WeightsFileError, shown
from asd_jax.weights.restricted_pickle import Global, Name, Tables
from asd_jax.weights.stored_tensor import Storage, Stored

_ZIP_START = b"PK\x03\x04"
# A pickle of its own: protocol 2, PyTorch's magic number, the end.
_LEGACY_START = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
_LEGACY_VERSION = 1001
_KEY = re.compile(r"[0-9]{1,40}", re.ASCII)

STORAGES: dict[Name, np.dtype] = {
  ("torch", f"{kind}Storage"): np.dtype(dtype)
  for kind, dtype in (
    ("Float", np.float32),
    ("Double", np.float64),
    ("Half", np.float16),
    ("BFloat16", stored_tensor.BFLOAT16),
    ("Long", np.int64),
    ("Int", np.int32),
    ("Short", np.int16),
    ("Char", np.int8),
    ("Byte", np.uint8),
    ("Bool", np.bool_),
    ("ComplexFloat", np.complex64),
  )
}
# Objects that training code leaves beside the weights: they are not rebuilt.
PLACEHOLDERS: tuple[Name, ...] = (
  ("argparse", "Namespace"),
  ("ml_collections.config_dict.config_dict", "ConfigDict"),
  ("omegaconf.dictconfig", "DictConfig"),
  ("omegaconf.listconfig", "ListConfig"),
  ("omegaconf.base", "ContainerMetadata"),
  ("omegaconf.base", "Metadata"),
  ("omegaconf.nodes", "AnyNode"),
  ("typing", "Any"),
  ("collections", "defaultdict"),
  ("__builtin__", "dict"),
  ("__builtin__", "list"),
  ("__builtin__", "long"),
  ("numpy", "dtype"),
  ("numpy.core.multiarray", "scalar"),
  ("numpy._core.multiarray", "scalar"),
  ("_codecs", "encode"),
  ("models.base", "Modality"),
)


def _rebuild_tensor(arguments: tuple) -> Stored:
  """A tensor from what `torch._utils._rebuild_tensor_v2` is given."""
  if len(arguments) not in (6, 7) or type(arguments[0]) is not Storage:
    raise WeightsFileError(
      f"found a tensor of {len(arguments)} parts, expected a storage, offset,"
      " size, stride and two flags."
    )
  # The rest is about gradients.
  return stored_tensor.checked(*arguments[:4])


def _rebuild_parameter(arguments: tuple) -> Stored:
  """The tensor of a parameter."""
  if len(arguments) != 3 or type(arguments[0]) is not Stored:
    raise WeightsFileError(
      f"found a parameter of {len(arguments)} parts, expected a tensor and two"
      " flags."
    )
  return arguments[0]


def _tables(
  storages: dict[str, Storage],
  open_storage: Callable[[str, np.dtype, int], Storage],
  *,
  length: int,
  placeholders: Iterable[Name],
) -> Tables:
  """What the pickle machine may build from a torch file.

  Args:
    storages: by key, filled while the pickle is read; tensors that share one
      must agree on its type and count.
    open_storage: checks a storage of key, type and count against the file.
    length: of a persistent id, which also says where the numbers lay once
      (`cuda:0`); that does not matter here.
    placeholders: names of objects that are not rebuilt.
  """

  def persistent(found: object) -> Storage:
    wrong = WeightsFileError(
      "found a persistent id that names no storage, expected ('storage', type,"
      " key, place, count)."
    )
    if (
      type(found) is not tuple
      or len(found) != length
      or found[5:] != ((None,) * (length - 5))
    ):
      raise wrong
    tag, kind, name, _, count = found[:5]
    if type(tag) is not str or tag != "storage" or type(kind) is not Global:
      raise wrong
    counts = type(count) is int and 0 <= count < stored_tensor.LIMIT
    if kind.name not in STORAGES or not counts:
      raise wrong
    if type(name) is not str or not _KEY.fullmatch(name):
      raise WeightsFileError(
        f"found the storage key {shown(name)!r}, expected a number."
      )
    dtype = STORAGES[kind.name]
    if name not in storages:
      storages[name] = open_storage(name, dtype, count)
    same = storages[name]
    if same.dtype != dtype or same.count != count:
      raise WeightsFileError(
        f"found storage {name} as {same.count} {same.dtype} and as {count}"
        f" {dtype}, expected one kind."
      )
    return same

  rebuild = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
  }
  return Tables(
    rebuild=rebuild,
    inert=frozenset(STORAGES),
    placeholders=frozenset(placeholders),
    persistent=persistent,
  )


def _prefix(entries: dict[str, zip_entries.Entry]) -> str:
  """The one folder of a torch zip."""
  holders = [
    n for n in entries if n.count("/") == 1 and n.endswith("/data.pkl")
  ]
  if len(holders) != 1:
    raise WeightsFileError(
      f"found a zip file with {len(holders)} entries <folder>/data.pkl,"
      " expected one, as torch.save writes."
    )
  prefix = holders[0].removesuffix("data.pkl")
  for name in entries:
    inside = name.removeprefix(prefix)
    if inside == name:
      raise WeightsFileError(
        f"found the entry {shown(name)}, expected all under {shown(prefix)}"
      )
    if inside == "constants.pkl" or inside.startswith("code/"):
      raise WeightsFileError(
        "found a TorchScript program, expected weights alone: save the state"
        " dict of the model with torch.save."
      )
  return prefix


def _read_zip(source: Source, *, placeholders: Iterable[Name]) -> Any:
  """The object in a torch zip."""
  entries = zip_entries.entries(source)
  prefix = _prefix(entries)
  # All of them, before the pickle says which ones are used.
  zip_entries.check_data(source, entries.values())
  # Older files do not say it; those are taken for little-endian.
  order = entries.get(prefix + "byteorder")
  swapped = False
  if order is not None:
    text = source.read(order.start, min(order.size, 16), "the byte order")
    if text not in (b"little", b"big"):
      raise WeightsFileError(
        f"found the byte order {shown(text.decode('latin-1'))!r}, expected"
        " little or big."
      )
    swapped = text == b"big"

  def open_storage(name: str, dtype: np.dtype, count: int) -> Storage:
    entry = entries.get(f"{prefix}data/{name}")
    if entry is None:
      raise WeightsFileError(
        f"found no data for storage {name}, expected an entry data/{name}."
      )
    if entry.size != count * dtype.itemsize:
      raise WeightsFileError(
        f"found {entry.size} bytes of data for storage {name}, expected"
        f" {count} numbers of {dtype}."
      )
    return Storage(name, dtype, count, entry.start, swapped)

  main = entries[prefix + "data.pkl"]
  _check_pickle_size(main.size)
  data = source.read(main.start, main.size, "data.pkl")
  tables = _tables({}, open_storage, length=5, placeholders=placeholders)
  value, end = restricted_pickle.load(data, 0, tables)
  if end != len(data):
    raise WeightsFileError(
      f"found {len(data) - end} bytes after the pickle, expected none."
    )
  return value


def _check_pickle_size(size: int) -> None:
  if size > restricted_pickle.MAX_BYTES:
    raise WeightsFileError(
      f"found a pickle of {size} bytes, expected at most"
      f" {restricted_pickle.MAX_BYTES}."
    )


def _read_legacy(source: Source, *, placeholders: Iterable[Name]) -> Any:
  """The object in a file of torch before 1.6."""
  size = min(source.size, restricted_pickle.MAX_BYTES)
  data = source.read(0, size, "the pickles")
  storages: dict[str, Storage] = {}

  def open_storage(name: str, dtype: np.dtype, count: int) -> Storage:
    # Where it lies is known only after the pickles; that it cannot be larger
    # than the file is known now.
    source.check_range(0, count * dtype.itemsize, f"storage {name}")
    return Storage(name, dtype, count)

  def no_storage(*_: object) -> Storage:
    raise WeightsFileError(
      "found a tensor outside the main pickle, expected none."
    )

  # Five pickles in a row: magic number, version, system, object, keys. Only
  # the object may hold tensors.
  plain = _tables({}, no_storage, length=6, placeholders=())
  tables = _tables(storages, open_storage, length=6, placeholders=placeholders)
  version, at = restricted_pickle.load(data, len(_LEGACY_START), plain)
  system, at = restricted_pickle.load(data, at, plain)
  value, at = restricted_pickle.load(data, at, tables)
  keys, at = restricted_pickle.load(data, at, plain)
  if type(version) is not int or version != _LEGACY_VERSION:
    raise WeightsFileError(
      f"found another legacy version than {_LEGACY_VERSION}, expected it."
    )
  if type(system) is not dict or system.get("little_endian") is not True:
    raise WeightsFileError(
      "found a legacy file of a big-endian machine, expected little-endian."
    )
  _place(source, storages, keys, at)
  return value


def _place(
  source: Source, storages: dict[str, Storage], keys: object, at: int
) -> None:
  """Finds the storages of a legacy file: counts and numbers in key order."""
  if type(keys) is not list or not all(type(k) is str for k in keys):
    raise WeightsFileError("found no list of storage keys, expected one.")
  if sorted(keys) != sorted(storages):
    raise WeightsFileError(
      f"found data of {len(keys)} storages, expected the {len(storages)} that"
      " the tensors use."
    )
  for name in keys:
    storage = storages[name]
    head = source.read(at, 8, f"the count of storage {name}")
    count = int.from_bytes(head, "little", signed=True)
    if count != storage.count:
      raise WeightsFileError(
        f"found {count} numbers in storage {name}, expected {storage.count}."
      )
    # Each storage has its count in front.
    storage.start = at + 8
    size = count * storage.dtype.itemsize
    source.check_range(storage.start, size, f"storage {name}")
    at = storage.start + size
  if at != source.size:
    raise WeightsFileError(
      f"found {source.size - at} bytes after the last storage, expected none."
    )


def read(
  source: Source, *, placeholders: Iterable[Name]
) -> tuple[str, Any] | None:
  """The object that `torch.save` wrote.

  Args:
    source: the open file.
    placeholders: names of objects that are not rebuilt.

  Returns:
    Kind of file, and plain values with a `Stored` for each tensor. None for a
    file that does not begin as one of torch.

  Raises:
    WeightsFileError: for anything that is not expected.
  """
  most = max(len(_ZIP_START), len(_LEGACY_START))
  start = source.read(0, min(source.size, most), "the first bytes")
  if start.startswith(_ZIP_START):
    return "torch zip", _read_zip(source, placeholders=placeholders)
  if start.startswith(_LEGACY_START):
    return "torch legacy", _read_legacy(source, placeholders=placeholders)
  return None
