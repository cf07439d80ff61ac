"""Config files: where they are found, and what a run makes of one.

The repository keeps its configs in a folder of its own. An installed package
has them inside, as data: a `configs` of ours beside other people's packages
would be theirs to import by accident. Here both look the same.
"""

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import ml_collections
from ml_collections import config_dict

from asd_jax import errors

# What stands beside the configs and is none.
_NO_CONFIGS = ("__init__", "common", "pretraining", "published")
# Configs of a pre-training, which makes an encoder and scores nothing.
_PRETRAININGS = ("na_beats", "na_dasheng", "na_eat")
_PACKAGE = Path(__file__).resolve().parents[1]


def is_installed() -> bool:
  """Whether this is an installed package, not a checkout.

  Returns:
    True if configs and scripts are inside the package.
  """
  return (_PACKAGE / "configs").is_dir()


def data_folder(name: str) -> Path:
  """A folder that stands beside the package, or inside once installed.

  Args:
    name: `configs` or `scripts`.

  Returns:
    The folder.
  """
  return (_PACKAGE if is_installed() else _PACKAGE.parent) / name


def offer() -> None:
  """Makes `from configs import common` mean the configs that came along.

  Whoever has a `configs` imported already keeps it.
  """
  if "configs" not in sys.modules:
    spec = ModuleSpec("configs", None, is_package=True)
    # A package is where its modules are sought; it needs no file of its own.
    spec.submodule_search_locations = [str(data_folder("configs"))]
    sys.modules["configs"] = importlib.util.module_from_spec(spec)


def names() -> list[str]:
  """Names of the configs that came along.

  Returns:
    Them, sorted.
  """
  found = (p.stem for p in data_folder("configs").glob("*.py"))
  return sorted(n for n in found if n not in _NO_CONFIGS)


def systems() -> list[str]:
  """Names of the configs of systems that came along.

  Returns:
    Them, sorted.
  """
  return [n for n in names() if n not in _PRETRAININGS]


def locate(text: str) -> str:
  """Finds a config file by its path or its bare name.

  Args:
    text: such as `configs/plain_knn.py`, `plain_knn` or, with an argument of
      the config, `plain_knn:smoke`.

  Returns:
    The path, with the argument as it came.

  Raises:
    InputError: if there is none.
  """
  path, colon, argument = text.partition(":")
  if os.path.isfile(path):
    return text
  # As the documentation writes it, from whatever folder it is read.
  stem = path.removeprefix("configs/").removesuffix(".py")
  if stem in names():
    return f"{data_folder('configs') / stem}.py{colon}{argument}"
  raise errors.InputError(
    f"flags: --config: found no file {path!r}, expected a config file or one of"
    f" {', '.join(names())} (with :smoke for synthetic data)."
  )


def beside_others(
  config: ml_collections.ConfigDict,
  out: Path,
  name: str,
  *,
  data_dir: str,
  num_epochs: int = 0,
) -> ml_collections.ConfigDict:
  """Makes a config one of several systems on the same recordings.

  Args:
    config: of one system; changed.
    out: folder of all.
    name: of its own folder in it.
    data_dir: the recordings.
    num_epochs: of every network that is trained; the config's own if 0.

  Returns:
    The config.
  """
  config.data_dir, config.output_dir = data_dir, str(out / name)
  # One folder for all: systems that hear the same sound share networks.
  config.training_dir = str(out / "training")
  for branch in config.branches.values():
    if num_epochs and "recipe" in branch.encoder:
      branch.encoder.recipe.num_epochs = num_epochs
  return config


def prepared(
  given: ml_collections.ConfigDict | None,
  arguments: Sequence[str],
  *,
  trains: bool = False,
) -> dict[str, Any]:
  """What the `--config` flags of a command mean, complete and checked.

  A config that brings its data, such as `:smoke`, gets them written into the
  output folder.

  Args:
    given: value of the flag; None if it is missing.
    arguments: of the command line that are not flags: there should be none.
    trains: whether the command can use the config of a pre-training.

  Returns:
    Plain data.

  Raises:
    InputError: for a missing flag, or a setting that a run cannot use.
  """
  if arguments:
    raise errors.InputError(
      f"flags: found {[*arguments]}, expected only flags such as --config."
    )
  if given is None:
    raise errors.InputError(
      "flags: expected --config=configs/<system>.py, found none."
    )
  try:
    plain = given.lock().to_dict()
  except config_dict.RequiredValueError as e:
    raise errors.InputError(f"config: {e}") from e
  from asd_jax.engine import distil_config, settings

  if distil_config.is_one(plain):
    return _pretraining(plain, trains)
  config = settings.prepared(plain)
  named = any(config[k] for k in ("data_dir", "normal", "test"))
  if trains and not named:
    _check_place(config)
  return _with_data(config)


def _check_place(config: Mapping[str, Any]) -> None:
  """Refuses synthetic recordings that are to be learned from and lie nowhere.

  Raises:
    InputError: without an output folder.
  """
  if config["synthetic"] and not config["output_dir"]:
    raise errors.InputError(
      "config: output_dir: found none, expected a folder, to which synthetic"
      " recordings are written."
    )


def _pretraining(plain: Mapping[str, Any], trains: bool) -> dict[str, Any]:
  """The config of a pre-training, with synthetic sounds where it has none."""
  from asd_jax.engine import distil_config

  name = plain[distil_config.KIND]
  if not trains:
    raise errors.InputError(
      f"config: found the pre-training {name}, expected a system;"
      " scripts/train.py carries it out, and systems name what comes out as a"
      " checkpoint."
    )
  config = distil_config.prepared(plain)
  made, out = config["synthetic"], config["output_dir"]
  if not made or config["target"] or config["noises"]:
    return config
  _check_place(config)
  from asd_jax.data import synthetic_sounds

  folder = Path(out) / "synthetic"
  synthetic_sounds.write(folder, **made)
  noises = (str(folder / "noise"),)
  return {**config, "target": str(folder / "target"), "noises": noises}


def _with_data(config: Mapping[str, Any]) -> dict[str, Any]:
  """The config, with its synthetic data on disk where it has no other."""
  made, out = config["synthetic"], config["output_dir"]
  if any(config[k] for k in ("data_dir", "normal", "test")) or not (
    made and out
  ):
    return dict(config)
  from asd_jax.data import synthetic  # a second to import

  folder = Path(out) / "synthetic"
  # The same clips each time: what an earlier run kept of them stays true.
  synthetic.write(folder, **made)
  return {**config, "data_dir": str(folder)}
