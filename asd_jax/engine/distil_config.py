"""Completes and checks the config of a pre-training."""

import difflib
from collections.abc import Mapping
from typing import Any

from asd_jax import errors
from asd_jax.encoders import family, zoo
from asd_jax.engine import seeds
from asd_jax.ops import geometry, room
from asd_jax.training import optimiser

# The key that tells such a config from a system's.
KIND = "pretraining"
# Those with an encoder inside.
FAMILIES: dict[str, family.Family] = {
  name: f for name, f in zoo.FAMILIES.items() if f.inner is not None
}
# `configs/pretraining.py` says what each means.
DEFAULTS: dict[str, Any] = {
  KIND: "",
  "output_dir": "",
  "weights_dir": "weights",
  "random_weights": False,
  "checkpoint": "",
  "precision": "float32",
  "seeds": (0, 1, 2),
  "encoder": dict(name="na_beats", size="base"),
  "student": dict(dropout=0.1, gradient_decay=1.0, remat=False),
  "frontend": dict(name="beats_fbank"),
  "target": "",
  "noises": (),
  "data_dir": "",
  "holdout": "0.1",
  "valid": dict(every=10, num=0),
  "loader": dict(num_workers=0, num_threads=4, ahead=1),
  "seconds": 10.0,
  "microphones": 2,
  "rooms": dict(num=10_000, num_valid=1_000, seed=0, max_order=30, ranges={}),
  "optimiser": dict(
    learning_rate=1e-4,
    weight_decay=0.01,
    schedule="warmup_constant",
    warmup=0,
  ),
  "ema": 0.999,
  "ema_start": 20_000,
  "cls_weight": 1.0,
  "batch_size": 160,
  "accumulate": 1,
  "num_epochs": 200,
  "num_steps": 0,
  "synthetic": {},
}
# Settings that are a group of their own, whose keys are all known.
_GROUPS = ("encoder", "student", "valid", "loader", "rooms", "optimiser")
# Least and greatest value of a number, and its type.
_NUMBERS: dict[str, tuple[type, float, float]] = {
  "seconds": (float, 1e-3, 3600),
  "microphones": (int, 1, 2),
  "ema": (float, 0, 1),
  "ema_start": (int, 0, 2**31),
  "cls_weight": (float, 0, 1e6),
  "batch_size": (int, 1, 2**20),
  "accumulate": (int, 1, 2**20),
  "num_epochs": (int, 1, 2**20),
  "num_steps": (int, 0, 2**31),
  "student.dropout": (float, 0, 0.99),
  "student.gradient_decay": (float, 0, 1),
  "valid.every": (int, 1, 2**20),
  "valid.num": (int, 0, 2**31),
  "loader.num_workers": (int, 0, 4096),
  "loader.num_threads": (int, 1, 4096),
  "loader.ahead": (int, 1, 4096),
  "rooms.num": (int, 0, 2**24),
  "rooms.num_valid": (int, 0, 2**24),
  "rooms.seed": (int, 0, 2**31),
  "rooms.max_order": (int, 0, geometry.MAX_ORDER),
}


def is_one(config: Mapping[str, Any]) -> bool:
  """Whether a config is that of a pre-training."""
  return KIND in config


def prepared(config: Mapping[str, Any]) -> dict[str, Any]:
  """Completes a config and refuses one that no pre-training could finish with.

  Args:
    config: plain data, see `configs/pretraining.py`.

  Returns:
    The config.

  Raises:
    InputError: for an unknown or impossible setting.
  """
  _known("config", config, DEFAULTS)
  out = {**DEFAULTS, **config}
  for group in _GROUPS:
    _known(f"config: {group}", out[group], DEFAULTS[group])
    out[group] = {**DEFAULTS[group], **out[group]}
  _check_numbers(out)
  _check_choices(out)
  ranges(out)
  _check_optimiser(out)
  if out["batch_size"] % out["accumulate"]:
    raise errors.InputError(
      f"config: accumulate: found {out['accumulate']}, expected a divisor of"
      f" batch_size {out['batch_size']}."
    )
  return out


def ranges(config: Mapping[str, Any]) -> geometry.Ranges:
  """What rooms are drawn from.

  Args:
    config: complete.

  Returns:
    The ranges.

  Raises:
    InputError: for ranges that no room can have.
  """
  given = dict(config["rooms"]["ranges"])
  _known("config: rooms.ranges", given, vars(geometry.REPORT))
  found = geometry.Ranges(**given)
  # A response would be cut off before it has faded.
  longest = room.LENGTH / room.SAMPLE_RATE
  if found.rt60[1] > longest:
    raise errors.InputError(
      f"config: rooms.ranges: found an RT60 of {found.rt60[1]:g} s, expected at"
      f" most {longest:g} s, the length of a response."
    )
  return found


def _known(
  where: str, given: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
  """Refuses keys that are not known."""
  for key in given:
    if key not in known:
      near = difflib.get_close_matches(key, known, n=1)
      hint = (
        f"did you mean {near[0]!r}?"
        if near
        else f"expected some of {[*known]}."
      )
      raise errors.InputError(f"{where}: found unknown key {key!r}, {hint}")


def _check_numbers(config: Mapping[str, Any]) -> None:
  for key, (kind, low, high) in _NUMBERS.items():
    group, _, name = key.rpartition(".")
    value = (config[group] if group else config)[name]
    types = (int, float) if kind is float else (int,)
    if (
      isinstance(value, bool)
      or not isinstance(value, types)
      or not low <= value <= high
    ):
      raise errors.InputError(
        f"config: {key}: found {value!r}, expected a number from {low:g} to"
        f" {high:g}."
      )


def _check_optimiser(config: Mapping[str, Any]) -> None:
  try:
    optimiser.make(config["optimiser"], 10**9)  # refuses what it cannot use
  except errors.InputError as e:
    raise errors.InputError(f"config: {e}") from e


def _check_choices(config: Mapping[str, Any]) -> None:
  encoder = config["encoder"]
  if encoder["name"] not in FAMILIES:
    raise errors.InputError(
      f"config: encoder: found {encoder['name']!r}, expected one of"
      f" {sorted(FAMILIES)}."
    )
  known = FAMILIES[encoder["name"]]
  if encoder["size"] not in known.sizes:
    raise errors.InputError(
      f"config: encoder {known.name}: found size {encoder['size']!r}, expected"
      f" one of {[*known.sizes]}."
    )
  if config["precision"] not in family.DTYPES:
    raise errors.InputError(
      f"config: precision: found {config['precision']!r}, expected one of"
      f" {[*family.DTYPES]}."
    )
  seeds.check(config["seeds"], such_as=(0, 1, 2))
