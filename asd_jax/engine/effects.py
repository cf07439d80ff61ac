"""Settings that would do nothing, or not what they say, are refused."""

from collections.abc import Mapping
from typing import Any

from asd_jax import errors
from asd_jax.backends import base
from asd_jax.encoders import adapted
from asd_jax.engine import adapt_seeds, encode, sources
from asd_jax.engine.branch import Branch, Branches
from asd_jax.ops import views

_FULL = "float32"


def check_branch(
  name: str, spec: Mapping[str, Any], branch: Branch, backend: base.Backend
) -> None:
  """Refuses a choice that the other stages leave nothing to work on.

  Args:
    name: of the branch, for messages.
    spec: its settings, all keys.
    branch: what was built from them.
    backend: its backend in its wrappers.

  Raises:
    InputError: for a view or a key of two channels where one is left, for a
      pooling of a token that is not there, and for a key that nothing chooses
      by.
  """
  where = f"config: branch {name}"
  channels = tuple(spec["channels"])
  left = 1 if encode.denoises(branch) else len(channels)
  for stage in ("view", "key"):
    chosen = spec[stage]["name"]
    if chosen in views.OF_TWO and left < 2:
      why = "merged into one" if len(channels) > 1 else "the only one"
      raise errors.InputError(
        f"{where}: {stage}: found {chosen!r}, which needs near and far, and"
        f" channels={channels}, {why} before it; expected channels=(0, 1) and"
        " nothing that merges them."
      )
  has_cls = (
    sources.has_weights(branch.encoder)
    and branch.encoder.about.family.input.num_extra > 0
    and branch.source.layer != adapted.EMBEDDING
  )
  if branch.detect.of_cls and not has_cls:
    raise errors.InputError(
      f"{where}: pooling: found {spec['pooling']['name']!r}, but the encoder"
      f" {spec['encoder']['name']} has no CLS token; expected a pooling of"
      " patches."
    )
  if spec["key"]["name"] != "none" and not backend.needs_key:
    raise errors.InputError(
      f"{where}: key: found {spec['key']['name']!r}, but no wrapper"
      " 'prototypes', which alone chooses by it; expected 'none'."
    )


def check_run(config: Mapping[str, Any], branches: Branches) -> None:
  """Refuses settings of a run that no branch has a use for.

  Args:
    config: plain data, all keys.
    branches: what was built from it.

  Raises:
    InputError: for another precision without an encoder that it is for.
  """
  frozen = any(sources.has_weights(b.encoder) for b in branches.values())
  if config["precision"] != _FULL and not frozen:
    raise errors.InputError(
      f"config: precision: found {config['precision']!r}, but no encoder with"
      f" published weights, which it is for; expected {_FULL!r}."
    )


def check_adapt(config: Mapping[str, Any], branches: Branches) -> None:
  """Refuses settings of an adaptation that cannot be followed.

  Args:
    config: plain data, all keys.
    branches: what was built from it.

  Raises:
    InputError: for unknown or impossible settings, and for folds of an
      adaptation that are not those of the decisions.
  """
  adapt, where = config["adapt"], "config: adapt"
  known = ("data_dirs", "folds", "seeds_at_once", "memory_gb")
  if extra := sorted(set(adapt) - set(known)):
    raise errors.InputError(
      f"{where}: found {extra}, expected some of {known}."
    )
  folders, folds = adapt["data_dirs"], adapt["folds"]
  texts = isinstance(folders, list | tuple) and all(
    isinstance(d, str) for d in folders
  )
  if not texts:
    raise errors.InputError(
      f"{where}.data_dirs: found {folders!r}, expected a tuple of folders."
    )
  if adapt["seeds_at_once"] not in adapt_seeds.MODES:
    raise errors.InputError(
      f"{where}.seeds_at_once: found {adapt['seeds_at_once']!r}, expected one"
      f" of {adapt_seeds.MODES}."
    )
  memory = adapt["memory_gb"]
  if isinstance(memory, bool) or not isinstance(memory, int | float):
    raise errors.InputError(
      f"{where}.memory_gb: found {memory!r}, expected a number."
    )
  if folds and folds != config["threshold"]["folds"]:
    raise errors.InputError(
      f"{where}.folds: found {folds!r}, expected 0, or the"
      f" {config['threshold']['folds']!r} of threshold.folds, whose models need"
      " encoders that have not seen their folds."
    )
  adapts = any(b.encoder.scope == "run" for b in branches.values())
  if not adapts and (folders or folds):
    raise errors.InputError(
      f"{where}: found {'data_dirs' if folders else 'folds'}, but no branch"
      " with encoder.adapt, which it is for."
    )


def check_rate(rate: int, branches: Branches) -> None:
  """Refuses a sample rate that front ends or encoders are not made for.

  Their windows and bands are numbers of samples: at another rate they would
  be of another length and pitch, and nobody would be told.

  Args:
    rate: sample rate of the run, Hz.
    branches: by name.

  Raises:
    InputError: for another rate than one of them has.
  """
  for name, branch in branches.items():
    own = {"frontend": branch.front.frontend.sample_rate}
    if sources.has_weights(branch.encoder):
      own["encoder"] = branch.encoder.about.family.input.sample_rate
    for stage, wanted in own.items():
      if wanted not in (None, rate):
        raise errors.InputError(
          f"config: sample_rate: found {rate} Hz, expected {wanted} Hz, which"
          f" the {stage} of branch {name} is made for (recordings of any rate"
          " are resampled to it)."
        )
