"""Official weight files: what is in them, and their way to our parameters."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asd_jax.data import weights_file
from asd_jax.data.byte_source import shown
from asd_jax.encoders import beats, dasheng, eat, sslam, weight_map

# What an encoder makes of its official weights: `(arrays by official name,
# other entries of the file) -> (parameter tree, settings of the encoder)`.
Port = Callable[
  [Mapping[str, np.ndarray], Mapping[str, Any]],
  tuple[Mapping[str, Any], Mapping[str, Any]],
]
PORTS: dict[str, Port] = {
  "beats": beats.port,
  "eat": eat.port,
  "sslam": sslam.port,
  "dasheng": dasheng.port,
}


def _million(num: int) -> str:
  return f"{num / 1e6:.2f} M" if num >= 1e4 else str(num)


def inspect(path: Path, *, placeholders: Iterable[str] = ()) -> list[str]:
  """Lists what a weight file holds, without loading its numbers.

  Args:
    path: the file.
    placeholders: exact names of further objects that are left out.

  Returns:
    Lines of text: the container, then name, dtype and shape of each weight,
    then what else there is.

  Raises:
    ValueError: if the file is refused.
  """
  found = weights_file.scan(path, placeholders=placeholders)
  stored = {n: v for n, v in found.weights.items() if _is_tensor(v)}
  count = sum(int(np.prod(v.shape, dtype=object)) for v in stored.values())
  where = f"entry {found.entry!r}" if found.entry else "the whole file"
  others = [n for n in found.weights if n not in stored]
  lines = [
    f"{path}: {found.container}, weights in {where}: {len(stored)} tensors,"
    f" {_million(count)} numbers",
    f"looks like: {weight_map.identify(found.weights)}",
  ]
  width = max(len(shown(name)) for name in stored)
  for name, value in stored.items():
    lines.append(f"  {shown(name):{width}}  {value.dtype!s:9} {[*value.shape]}")
  for title, names in (
    ("no tensor, not read", others),
    ("beside the weights", list(found.beside)),
  ):
    if names:
      text = ", ".join(
        str(n) if type(n) is int else shown(n) for n in names[:20]
      )
      lines.append(f"{title}: {text}{' ...' * (len(names) > 20)}")
  if (inner := len(found.tensors) - len(stored)) > 0:
    lines.append(f"tensors elsewhere in the file, not read: {inner}")
  return lines


def _is_tensor(value: object) -> bool:
  return hasattr(value, "extent")


def official(
  path: Path, family: str, *, placeholders: Iterable[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Reads the weights of a family by their official names.

  Args:
    path: the file.
    family: key of `weight_map.FAMILIES`.
    placeholders: exact names of further objects that are left out.

  Returns:
    Arrays by name, and the other entries of the file.

  Raises:
    ValueError: if the file is refused or holds something else.
  """
  if family not in weight_map.FAMILIES:
    raise ValueError(
      f"found the family {family!r}, expected one of"
      f" {', '.join(weight_map.FAMILIES)}."
    )
  weights = weights_file.read(path, placeholders=placeholders)
  try:
    tensors = weight_map.official(
      weights.tensors, weight_map.FAMILIES[family], others=weights.others
    )
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None
  return tensors, weights.beside


def convert(
  path: Path,
  family: str,
  output: Path,
  *,
  placeholders: Iterable[str] = (),
) -> Path:
  """Writes official weights as our parameters.

  Args:
    path: the official file.
    family: key of `weight_map.FAMILIES`.
    output: new folder; it gets `params` (Orbax) and `encoder.json`.
    placeholders: exact names of further objects that are left out.

  Returns:
    The folder.

  Raises:
    ValueError: if the file is refused, holds something else, or the folder
      is there already. Then nothing is written.
  """
  output = Path(output).absolute()
  if output.exists():
    raise ValueError(f"{output}: found already there, expected a new folder.")
  tensors, beside = official(path, family, placeholders=placeholders)
  if family not in PORTS:
    raise ValueError(
      f"{path}: found {weight_map.FAMILIES[family].title} weights, expected"
      f" those of an encoder that is here: {', '.join(PORTS) or 'none yet'}."
    )
  try:
    tree, settings = PORTS[family](tensors, beside)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None
  about = {"family": family, "source": Path(path).name, "encoder": settings}
  _write(output, weight_map.in_float32(tree), about)
  return output


def _write(
  output: Path, tree: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
  """Writes the folder beside its place, then renames it."""
  import orbax.checkpoint as ocp  # a second to import

  try:
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".partial", dir=output.parent))
    try:
      with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(beside / "params", tree)
      text = json.dumps(about, indent=2) + "\n"
      (beside / "encoder.json").write_text(text)
      os.chmod(beside, 0o755)
      os.rename(beside, output)
    except BaseException:
      shutil.rmtree(beside, ignore_errors=True)
      raise
  except OSError as error:
    raise ValueError(
      f"{output}: cannot be written: {error.strerror or error}"
    ) from error
