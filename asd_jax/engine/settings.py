"""Checks a run's config before any data is read."""

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from asd_jax import errors
from asd_jax.data import submission
from asd_jax.engine import cache, stages
from asd_jax.engine import system as system_lib
from asd_jax.runs import select, select_features

# Settings of a run, beside those of the system itself.
KEYS = (
  "system",
  "data_dir",
  "normal",
  "test",
  "ground_truth",
  "machines",
  "output_dir",
  "training_dir",
  "sample_rate",
  "batch_size",
  "checkpoints",
  "weights_dir",
  "random_weights",
  "precision",
  "cache",
  "seeds",
  "members",
  "selection",
  "feature_selection",
  "sweep",
  "branches",
  "fusion",
  "threshold",
  "submission",
  "published",
  "synthetic",
)


def prepared(config: Mapping[str, Any]) -> dict[str, Any]:
  """Completes a config and refuses one that a run could not finish with.

  Args:
    config: plain data, see `configs/common.py`.

  Returns:
    The config, with the contents of its selection files.

  Raises:
    InputError: for an unknown, missing or impossible setting.
  """
  config = select_features.applied(select.applied(config))
  check(config)
  return config


def check(config: Mapping[str, Any]) -> None:
  """Refuses a config that a run could not finish with.

  Args:
    config: plain data, see `configs/common.py`.

  Raises:
    InputError: for an unknown, missing or impossible setting.
  """
  for key in config:
    if key not in KEYS:
      near = difflib.get_close_matches(key, KEYS, n=1)
      hint = (
        f"did you mean {near[0]!r}?" if near else f"expected some of {KEYS}"
      )
      raise errors.InputError(f"config: found unknown key {key!r}, {hint}")
  if missing := [k for k in KEYS if k not in config]:
    raise errors.InputError(f"config: found no {missing}, expected them all.")
  for key in ("sample_rate", "batch_size"):
    if not isinstance(config[key], int) or config[key] < 1:
      raise errors.InputError(
        f"config: {key}: found {config[key]!r}, expected 1 or more."
      )
  for key, kind in (("random_weights", bool), ("weights_dir", str)):
    if not isinstance(config[key], kind):
      raise errors.InputError(
        f"config: {key}: found {config[key]!r}, expected a {kind.__name__}."
      )
  if config["cache"] not in cache.MODES:
    raise errors.InputError(
      f"config: cache: found {config['cache']!r}, expected one of"
      f" {cache.MODES}."
    )
  seeds = config["seeds"]
  good = isinstance(seeds, list | tuple) and all(
    isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 2**32
    for s in seeds
  )
  if not good or not seeds or len(set(seeds)) < len(seeds):
    raise errors.InputError(
      f"config: seeds: found {seeds!r}, expected different integers from 0 to"
      " 2**32 - 1, such as (1, 2, 3)."
    )
  submission.check_label(config["submission"]["label"])
  _check_threshold(config)


def _check_threshold(config: Mapping[str, Any]) -> None:
  """The rule exists, its settings are known and the system can use it."""
  spec = config["threshold"]
  rule, floats = stages.resolve("threshold", spec, system_lib.THRESHOLDS)
  del rule
  if spec["name"] in system_lib.SCORE_RULES:
    system_lib.SCORE_RULES[spec["name"]](np.zeros(1), **floats)
  system = system_lib.build(config)
  if spec["name"] == "gamma" and not system_lib.has_batch_values(system):
    raise errors.InputError(
      "config: threshold: found 'gamma', which needs a system of one trained"
      " autoencoder; expected 'conformal'."
    )
