"""A pickle machine that builds plain values and calls nothing.

It knows the opcodes and names that weight files need. A name from the file is
never imported; it is a key into tables of ours, or the file is refused.
"""

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from asd_jax.weights.byte_source import WeightsFileError, shown

# Far above any real file; they bound time and memory for a made one.
MAX_OPCODES = 500_000
MAX_BYTES = 32 << 20
_KEY_TYPES = (str, int, float, bool, type(None))

Name = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Global:
  """A name that the file mentions: module and attribute, nothing behind it."""

  name: Name

  @property
  def text(self) -> str:
    """The dotted name."""
    return ".".join(self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Placeholder:
  """Stands for an object that is not rebuilt; what it held is dropped."""

  name: str


class OrderedMapping(dict):
  """A mapping whose attributes in the file are dropped."""


class Tables(NamedTuple):
  """What the machine may build.

  Attributes:
    rebuild: by name, our function of the arguments in the file.
    inert: names that may stand in the file but not be called.
    placeholders: names whose objects become a `Placeholder`.
    persistent: our function of a persistent id.
  """

  rebuild: Mapping[Name, Callable[[tuple], Any]]
  inert: frozenset[Name]
  placeholders: frozenset[Name]
  persistent: Callable[[object], Any]


def _ordered_mapping(arguments: tuple) -> OrderedMapping:
  """An empty mapping; its items follow as opcodes of their own."""
  if arguments:
    raise WeightsFileError(
      "found an OrderedDict with arguments, expected one without."
    )
  return OrderedMapping()


ORDERED_MAPPING: Name = ("collections", "OrderedDict")


@dataclass(slots=True)
class _Machine:
  """State of the machine while it reads one pickle."""

  data: bytes
  at: int
  tables: Tables
  stack: list[Any] = field(default_factory=list)
  outer: list[list[Any]] = field(default_factory=list)
  memo: dict[int, Any] = field(default_factory=dict)
  steps: int = 0

  def take(self, count: int) -> bytes:
    end = self.at + count
    if end > len(self.data):
      raise WeightsFileError(
        "found a pickle that ends early, expected its STOP opcode (is the"
        " download complete?)."
      )
    part = self.data[self.at : end]
    self.at = end
    return part

  def number(self, layout: str) -> int:
    return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

  def text(self, count: int) -> str:
    try:
      return self.take(count).decode()
    except UnicodeDecodeError:
      raise WeightsFileError(
        "found a string that is not UTF-8 in the pickle, expected UTF-8."
      ) from None

  def line(self) -> str:
    end = self.data.find(b"\n", self.at)
    text = self.text((end if end >= 0 else len(self.data)) - self.at)
    self.take(1)
    return text

  def pop(self) -> Any:
    if not self.stack:
      raise WeightsFileError(
        "found an opcode without its operand in the pickle, expected one."
      )
    return self.stack.pop()

  def top(self, kinds: tuple[type, ...], what: str) -> Any:
    if not self.stack or type(self.stack[-1]) not in kinds:
      found = type(self.stack[-1]).__name__ if self.stack else "nothing"
      raise WeightsFileError(
        f"found {what} on {found} in the pickle, expected"
        f" {' or '.join(k.__name__ for k in kinds)}."
      )
    return self.stack[-1]

  def pop_mark(self) -> list[Any]:
    if not self.outer:
      raise WeightsFileError(
        "found an opcode without its MARK in the pickle, expected one."
      )
    items, self.stack = self.stack, self.outer.pop()
    return items

  def push(self, value: Any) -> None:
    self.stack.append(value)

  def remember(self, index: int) -> None:
    # Indices count up, so none can be larger than the number of its opcode.
    if index > self.steps:
      raise WeightsFileError(
        f"found memo index {index} at opcode {self.steps} of the pickle,"
        " expected no larger one."
      )
    if not self.stack:
      self.pop()
    self.memo[index] = self.stack[-1]

  def recall(self, index: int) -> None:
    if index not in self.memo:
      raise WeightsFileError(
        f"found memo index {index} before it was set in the pickle, expected"
        " one that was."
      )
    self.push(self.memo[index])

  def push_global(self, module: object, name: object) -> None:
    if type(module) is not str or type(name) is not str:
      raise WeightsFileError(
        "found a global whose name is no string, expected strings."
      )
    # Only compared with our tables: a name from the file never leads to an
    # import.
    both = (module, name)
    tables = self.tables
    known = (tables.rebuild, tables.inert, tables.placeholders)
    if both != ORDERED_MAPPING and not any(both in k for k in known):
      raise WeightsFileError(
        f"found the global {shown(f'{module}.{name}')} in the pickle, expected"
        " only names that weights need; nothing was run. Take the safetensors"
        " file, if there is one; an object beside the weights can be skipped by"
        " its exact name (--placeholder)."
      )
    self.push(Global(both))

  def call(self, made: bool) -> None:
    arguments, called = self.pop(), self.pop()
    if type(called) is not Global or type(arguments) is not tuple:
      raise WeightsFileError(
        f"found a call of a {type(called).__name__} in the pickle, expected a"
        " known name and a tuple."
      )
    name = called.name
    if name == ORDERED_MAPPING:
      self.push(_ordered_mapping(arguments))
    elif name in self.tables.placeholders:
      self.push(Placeholder(called.text))
    # What weights are rebuilt by are functions; `made` (NEWOBJ) wants a class.
    elif name in self.tables.rebuild and not made:
      self.push(self.tables.rebuild[name](arguments))
    else:
      raise WeightsFileError(
        f"found a call of {called.text} in the pickle, expected none."
      )

  def extend(self, items: list[Any]) -> None:
    target = self.top((list, Placeholder), "APPEND")
    if type(target) is list:
      target.extend(items)

  def set_items(self, items: list[Any]) -> None:
    target = self.top((dict, OrderedMapping, Placeholder), "SETITEM")
    if len(items) % 2:
      raise WeightsFileError(
        "found a key without its value in the pickle, expected pairs."
      )
    # What goes into an object that is not rebuilt is dropped with it.
    if type(target) is Placeholder:
      return
    for name, value in zip(items[::2], items[1::2], strict=True):
      # Hashing nested tuples could exhaust the C stack: plain keys only.
      if type(name) not in _KEY_TYPES:
        raise WeightsFileError(
          f"found a {type(name).__name__} as a key in the pickle, expected"
          " plain values."
        )
      # PyTorch keeps the last one and says nothing.
      if name in target:
        raise WeightsFileError(
          f"found the key {shown(name)} twice in the pickle, expected it once."
        )
      target[name] = value

  def build(self) -> None:
    self.pop()
    self.top((OrderedMapping, Placeholder), "BUILD")

  def last(self, count: int) -> list[Any]:
    return [self.pop() for _ in range(count)][::-1]


def _mark(m: _Machine) -> None:
  m.outer.append(m.stack)
  m.stack = []


def _protocol(m: _Machine) -> None:
  found = m.number("<B")
  if not 2 <= found <= 5:
    raise WeightsFileError(f"found pickle protocol {found}, expected 2 to 5.")


def _stack_global(m: _Machine) -> None:
  # The name lies on top.
  name, module = m.pop(), m.pop()
  m.push_global(module, name)


# `pickletools` has their names. What is missing here is refused: INST, OBJ,
# EXT and others that could call or import something.
_OPCODES: dict[bytes, Callable[[_Machine], Any]] = {
  b"\x80": _protocol,
  b"\x95": lambda m: m.take(8),  # FRAME: only a hint
  b"(": _mark,
  b"N": lambda m: m.push(None),
  b"\x88": lambda m: m.push(True),
  b"\x89": lambda m: m.push(False),
  b"J": lambda m: m.push(m.number("<i")),
  b"K": lambda m: m.push(m.number("<B")),
  b"M": lambda m: m.push(m.number("<H")),
  b"\x8a": lambda m: m.push(
    int.from_bytes(m.take(m.number("<B")), "little", signed=True)
  ),
  b"G": lambda m: m.push(m.number(">d")),
  b"X": lambda m: m.push(m.text(m.number("<I"))),
  b"\x8c": lambda m: m.push(m.text(m.number("<B"))),
  b"B": lambda m: m.push(m.take(m.number("<I"))),
  b"C": lambda m: m.push(m.take(m.number("<B"))),
  b"]": lambda m: m.push([]),
  b"}": lambda m: m.push({}),
  b")": lambda m: m.push(()),
  b"t": lambda m: m.push(tuple(m.pop_mark())),
  b"\x85": lambda m: m.push(tuple(m.last(1))),
  b"\x86": lambda m: m.push(tuple(m.last(2))),
  b"\x87": lambda m: m.push(tuple(m.last(3))),
  b"a": lambda m: m.extend(m.last(1)),
  b"e": lambda m: m.extend(m.pop_mark()),
  b"s": lambda m: m.set_items(m.last(2)),
  b"u": lambda m: m.set_items(m.pop_mark()),
  b"c": lambda m: m.push_global(m.line(), m.line()),
  b"\x93": _stack_global,
  b"R": lambda m: m.call(made=False),
  b"\x81": lambda m: m.call(made=True),
  b"b": lambda m: m.build(),
  b"Q": lambda m: m.push(m.tables.persistent(m.pop())),
  b"q": lambda m: m.remember(m.number("<B")),
  b"r": lambda m: m.remember(m.number("<I")),
  b"\x94": lambda m: m.remember(len(m.memo)),
  b"h": lambda m: m.recall(m.number("<B")),
  b"j": lambda m: m.recall(m.number("<I")),
}


def _refused(opcode: bytes) -> WeightsFileError:
  """The error for an opcode that weights never need."""
  names = {o.code: o.name for o in pickletools.opcodes}
  text = names.get(opcode.decode("latin-1"), f"0x{opcode.hex()}")
  return WeightsFileError(
    f"found the opcode {text} in the pickle, expected only those that weights"
    " need; nothing was run."
  )


def load(data: bytes, start: int, tables: Tables) -> tuple[Any, int]:
  """Reads one pickle.

  Args:
    data: bytes that hold it.
    start: its first byte.
    tables: what may be built.

  Returns:
    Its value (plain values, `OrderedMapping`, `Global`, `Placeholder` and what
    the tables make; lists and mappings may be nested in any depth, shared or
    part of themselves), and the position after it.

  Raises:
    WeightsFileError: for anything that is not expected.
  """
  machine = _Machine(data, start, tables)
  while (opcode := machine.take(1)) != b".":
    machine.steps += 1
    if machine.steps > MAX_OPCODES:
      raise WeightsFileError(
        f"found more than {MAX_OPCODES} opcodes in the pickle, expected fewer."
      )
    if opcode not in _OPCODES:
      raise _refused(opcode)
    _OPCODES[opcode](machine)
  if len(machine.stack) != 1 or machine.outer:
    raise WeightsFileError(
      f"found {len(machine.stack)} values at the end of the pickle, expected"
      " one."
    )
  return machine.stack[0], machine.at
