"""Settings that would do nothing, or not what they say, are refused."""

from collections.abc import Mapping
from typing import Any

from asd_jax import errors
from asd_jax.backends import base
from asd_jax.engine import encode
from asd_jax.engine.branch import Branch
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
  has_cls = branch.encoder.scope == "file" and (
    branch.encoder.about.family.input.num_extra > 0
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


def check_run(config: Mapping[str, Any], branches: encode.Branches) -> None:
  """Refuses settings of a run that no branch has a use for.

  Args:
    config: plain data, all keys.
    branches: what was built from it.

  Raises:
    InputError: for another precision without an encoder that it is for.
  """
  frozen = any(b.encoder.scope == "file" for b in branches.values())
  if config["precision"] != _FULL and not frozen:
    raise errors.InputError(
      f"config: precision: found {config['precision']!r}, but no encoder with"
      f" published weights, which it is for; expected {_FULL!r}."
    )


def check_rate(rate: int, branches: encode.Branches) -> None:
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
    if branch.encoder.scope == "file":
      own["encoder"] = branch.encoder.about.family.input.sample_rate
    for stage, wanted in own.items():
      if wanted not in (None, rate):
        raise errors.InputError(
          f"config: sample_rate: found {rate} Hz, expected {wanted} Hz, which"
          f" the {stage} of branch {name} is made for (recordings of any rate"
          " are resampled to it)."
        )
