"""Writes small torch files by hand, right and wrong ones."""

import struct
import zipfile

LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")


def text(value):
  raw = value.encode()
  return b"X" + struct.pack("<I", len(raw)) + raw


def number(value):
  if type(value) is float:
    return b"G" + struct.pack(">d", value)
  size = (value.bit_length() + 8) // 8
  return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def named(module, name):
  return f"c{module}\n{name}\n".encode()


def sizes(values):
  return b"(" + b"".join(map(number, values)) + b"t"


def storage(name="0", *, count, kind="Float", legacy=False):
  parts = text("storage") + named("torch", f"{kind}Storage")
  parts += text(name) + text("cpu") + number(count)
  return b"(" + parts + (b"N" if legacy else b"") + b"tQ"


def tensor(stored, shape, *, strides=None, offset=0):
  if strides is None:
    strides = [1] * len(shape)
  head = named("torch._utils", "_rebuild_tensor_v2") + b"("
  body = stored + number(offset) + sizes(shape) + sizes(strides)
  return head + body + b"\x89" + named("collections", "OrderedDict") + b")RtR"


def mapping(**items):
  pairs = b"".join(text(name) + value for name, value in items.items())
  return b"}(" + pairs + b"u"


def pickled(value):
  return b"\x80\x02" + value + b"."


def write_zip(path, value, *, data=(), extra=()):
  """`data`: (storage, bytes); `extra`: (entry name, bytes)."""
  with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
    file.writestr("archive/data.pkl", pickled(value))
    for name, raw in data:
      file.writestr(f"archive/data/{name}", raw)
    for name, raw in extra:
      file.writestr(name, raw)
  return path


def write_legacy(path, value, *, data=(), little_endian=True):
  """`data`: (storage, count, bytes)."""
  system = mapping(little_endian=b"\x88" if little_endian else b"\x89")
  keys = b"](" + b"".join(text(name) for name, _, _ in data) + b"e"
  parts = [LEGACY]
  parts += [pickled(v) for v in (number(1001), system, value, keys)]
  parts += [struct.pack("<q", count) + raw for _, count, raw in data]
  path.write_bytes(b"".join(parts))
  return path


def packed(value, data):
  """A nested value with arrays as a pickle; their bytes go to `data`."""
  if isinstance(value, dict):
    pairs = [
      (text(k) if isinstance(k, str) else number(k)) + packed(v, data)
      for k, v in value.items()
    ]
    return b"}(" + b"".join(pairs) + b"u"
  if isinstance(value, list):
    return b"](" + b"".join(packed(v, data) for v in value) + b"e"
  if isinstance(value, str):
    return text(value)
  if isinstance(value, int | float):
    return number(value)
  name = str(len(data))
  data.append((name, value.tobytes()))
  kind = {"float32": "Float", "int8": "Char", "int64": "Long"}[value.dtype.name]
  strides = [s // value.itemsize for s in value.strides]
  stored = storage(name, count=value.size, kind=kind)
  return tensor(stored, value.shape, strides=strides)


def save(path, value):
  """What `torch.save` writes of nested mappings, lists and arrays."""
  data = []
  return write_zip(path, packed(value, data), data=data)
