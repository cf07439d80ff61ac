"""Commands in one process share the programs of a system.

As machines of one run do: most of the time of a tiny run is tracing and
compiling what another test has traced and compiled.
"""

import contextlib
import functools
import json
import re
from unittest import mock

from asd_jax.encoders import zoo
from asd_jax.engine import fronts
from asd_jax.engine import programs as programs_lib
from asd_jax.engine import system as system_lib
from asd_jax.engine import train as train_lib
from asd_jax.runs import explain

_READ = ("branches", "fusion", "seeds", "members")
# Stages of the user's own are told by their source, not by their name.
_OWN = re.compile(r'"name": "[^"]*:')


def _by_text(make, text_of):
  """One result for all settings that are alike as text."""
  kept = {}

  @functools.wraps(make)
  def known(*args, **kwargs):
    # Modules have tiny networks of their own, see `one_block`.
    tiny = [f.sizes["smoke"] for f in zoo.FAMILIES.values()]
    key = json.dumps((text_of(*args, **kwargs), tiny), default=repr)
    if _OWN.search(key):
      return make(*args, **kwargs)
    if key not in kept:
      kept[key] = make(*args, **kwargs)
    return kept[key]

  return known


def _read_of(config):
  plain = config.to_dict() if hasattr(config, "to_dict") else config
  return {k: plain.get(k) for k in _READ}


def _branch_of(name, spec, *, seeds=(0,)):
  return name, spec, seeds


def _of_branch(trainers):
  kept = {}

  def known(system):
    own = {}
    for name, made in trainers(system).items():
      branch = system.branches[name]
      _, own[name] = kept.setdefault(id(branch), (branch, made))
    return own

  return known


def _of_system(make):
  kept = {}

  @functools.wraps(make)
  def known(system):
    if id(system) not in kept:
      kept[id(system)] = system, make(system)
    return kept[id(system)][1]

  return known


def _of_rows(init):
  kept = {}

  @functools.wraps(init)
  def known(self, system, weights, batch_size):
    init(self, system, weights, batch_size)
    own = system, self._programs, self._scores
    _, self._programs, self._scores = kept.setdefault(id(system), own)

  return known


_SHARED = (
  (system_lib, "build", _by_text(system_lib.build, _read_of)),
  (system_lib, "build_branch", _by_text(system_lib.build_branch, _branch_of)),
  (train_lib, "trainers", _of_branch(train_lib.trainers)),
  (system_lib, "compiled_fit", _of_system(system_lib.compiled_fit)),
  (system_lib, "compiled_states", _of_system(system_lib.compiled_states)),
  (fronts, "front_fitter", _of_system(fronts.front_fitter)),
  (explain, "bank_scorer", _of_system(explain.bank_scorer)),
  (
    programs_lib.Programs,
    "__init__",
    _of_rows(programs_lib.Programs.__init__),
  ),
)


@contextlib.contextmanager
def programs():
  """While it is open, equal systems are one, whose programs are kept."""
  with contextlib.ExitStack() as stack:
    for place, name, known in _SHARED:
      stack.enter_context(mock.patch.object(place, name, known))
    yield
