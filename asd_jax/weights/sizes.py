"""Sizes of a network, told from its official weights and their configuration.

Files differ in what they say: some have a configuration beside the weights,
all have shapes, and none tells the number of heads where one matrix holds all
of them. So a size is read off the weights where it can be, then off the
configuration, then taken from the published sizes.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from asd_jax import errors

# A size for trials, of which no weights are published: what `:smoke` takes.
# Several families publish a size "tiny".
SMOKE = "smoke"


def shape_of(
  tensors: Mapping[str, np.ndarray], name: str, *, default: tuple[int, ...]
) -> tuple[int, ...]:
  """Shape of an official weight.

  Args:
    tensors: arrays by official name.
    name: the weight.
    default: taken where it is missing, empty or has another number of axes,
      so that the parameters that are not there can be listed.

  Returns:
    The shape.
  """
  shape = tensors[name].shape if name in tensors else ()
  return shape if len(shape) == len(default) and all(shape) else default


def count_blocks(names: Iterable[str], pattern: str, *, default: int) -> int:
  r"""Counts blocks by the largest number in their names.

  Args:
    names: official names.
    pattern: matches the start of a name; its group is the number.
    default: taken where there is none.

  Returns:
    The number of blocks.

  Raises:
    InputError: for a number that cannot be.
  """
  names = list(names)
  found = [m for name in names if (m := re.match(pattern, name))]
  # Long digits are no number of a block either.
  last = max((int(m.group(1)[:9]) for m in found), default=default - 1)
  # A network of a million blocks would be built before they are missed.
  if found and last >= len(names):
    raise errors.InputError(
      f"found block {last} among {len(names)} weights, expected each block to"
      " have some."
    )
  return 1 + last


def count_in(
  config: Mapping[str, Any], entry: str, *, default: int | None
) -> int | None:
  """Reads a positive number from the configuration of a file.

  Args:
    config: the configuration.
    entry: of the configuration.
    default: taken where there is no such entry.

  Returns:
    The number.

  Raises:
    InputError: for anything else.
  """
  value = config.get(entry, default)
  if value is not None and (type(value) is not int or value < 1):
    raise errors.InputError(
      f"found {entry}={str(value)[:50]!r} in the configuration of the file,"
      " expected a positive integer."
    )
  return value


def heads_of(sizes: Mapping[str, Mapping[str, Any]], width: int) -> int | None:
  """Heads of the published size of a width, which no weight tells.

  Args:
    sizes: settings by size.
    width: D.

  Returns:
    Their number, or None if no such size is published.
  """
  known = {s["width"]: s["num_heads"] for n, s in sizes.items() if n != SMOKE}
  return known.get(width)


def check_heads(title: str, settings: Mapping[str, Any]) -> None:
  """Checks that the number of heads is known and fits.

  Args:
    title: of the family, for messages.
    settings: with `width` and `num_heads`.

  Raises:
    InputError: if it is not, or does not.
  """
  heads, width = settings["num_heads"], settings["width"]
  if type(heads) is not int or heads < 1 or width % heads:
    raise errors.InputError(
      f"{title}: found {heads!r} heads for the width {width}, expected a"
      " divisor of it (no weight tells it; give num_heads)."
    )


def check_settings(
  title: str, settings: Mapping[str, Any], *, network: type, some: Mapping
) -> None:
  """Checks that settings are those of a network, with numbers that can be.

  Args:
    title: of the family, for messages.
    settings: with `width` and `num_heads`.
    network: its fields before `dtype` are the settings.
    some: settings of one size. Where those are words, values are not looked at.

  Raises:
    InputError: if some are missing or unknown, or a number is not positive.
  """
  # What stands before `dtype` is told by a file; the rest is how it is run.
  known = [f.name for f in dataclasses.fields(network)]
  known = known[: known.index("dtype")]
  missing = [k for k in known if k not in settings]
  unknown = [k for k in settings if k not in known]
  if missing or unknown:
    raise errors.InputError(
      f"{title}: settings of the network: missing {missing}, unknown"
      f" {unknown}; expected {known}."
    )
  odd = {k: v for k, v in settings.items() if type(v) is not int or v < 1}
  # The check of the heads says why their number may be missing.
  for name in ("num_heads", *(k for k, v in some.items() if type(v) is str)):
    odd.pop(name, None)
  if odd:
    raise errors.InputError(
      f"{title}: settings of the network: found {odd}, expected positive"
      " integers."
    )
  check_heads(title, settings)


def of_vit(
  tensors: Mapping[str, np.ndarray],
  known: Mapping[str, Mapping[str, Any]],
  *,
  base: str = "base",
  width: str = "patch_embed.proj.bias",
  blocks: str = "blocks.",
  hidden: str = "mlp.fc1.bias",
) -> dict[str, Any]:
  """Sizes that the weights of a vision transformer tell.

  Args:
    tensors: arrays by official name.
    known: settings by size.
    base: the size that stands for what is missing.
    width: name of the bias of the patches.
    blocks: what stands before the number of a block.
    hidden: in a block, name of the bias of the wide layer.

  Returns:
    `width`, `depth`, `hidden` and `num_heads`, which is None for a width that
    is not published.
  """
  other = known[base]
  bias = lambda name, num: shape_of(tensors, name, default=(num,))[0]
  num = bias(width, other["width"])
  numbered = re.escape(blocks) + r"(\d+)\."
  return {
    "width": num,
    "depth": count_blocks(tensors, numbered, default=other["depth"]),
    "num_heads": heads_of(known, num),
    "hidden": bias(f"{blocks}0.{hidden}", other["hidden"]),
  }
