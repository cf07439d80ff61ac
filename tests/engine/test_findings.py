"""Notes on what a section was fitted to, and on what came of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asd_jax.backends import base, mahalanobis, prototypes
from asd_jax.data import hearing
from asd_jax.engine import findings
from asd_jax.engine import system as system_lib
from configs import (
  baseline_mahala,
  konica_system4,
  ludo_system1,
  plain_knn,
)


def clips(**num):
  return [SimpleNamespace(domain=d) for d, n in num.items() for _ in range(n)]


def notes(module, train):
  config = module.get_config("smoke").to_dict()
  system = system_lib.build(config)
  return findings.domain_notes(system, config, "fan 00", train)


PLAIN = [SimpleNamespace(domain=None)] * 3  # a folder of clips has no domains


def test_a_system_says_which_rows_one_domain_cannot_give():
  lead = "fan 00: found no training clips of the target domain;"
  lacks = f"{lead} the bank lacks the rows that are made of both domains"
  assert notes(konica_system4, PLAIN) == [f"{lacks} (pseudo_target, residual)"]
  assert notes(ludo_system1, clips(source=3)) == [f"{lacks} (memmixup)"]
  (note,) = notes(ludo_system1, clips(target=3))
  assert "of the source domain" in note
  (note,) = notes(baseline_mahala, PLAIN)
  assert note == f"{lead} terms by domain are those of all clips"
  assert notes(plain_knn, PLAIN) == []
  assert notes(konica_system4, clips(source=2, target=1)) == []


def state_of(*diagonals):
  return mahalanobis.SelectiveState(np.stack([np.diag(d) for d in diagonals]))


@pytest.mark.parametrize(
  ("target", "num", "want"),
  [
    ([1.0, 2.0], 3, []),
    ([1.0, -2.0], 3, ["3 target clips"]),
    ([1.0, 0.0], 1, ["1 target clip"]),
    # Its covariance is then that of the source clips.
    ([1.0, -2.0], 0, []),
  ],
)
def test_a_covariance_that_is_not_positive_definite_is_told(target, num, want):
  system = system_lib.build(baseline_mahala.get_config("smoke"))
  one = state_of([1.0, 2.0], target)
  # Three seeds, of which the first is fine.
  seeds = [state_of([1.0, 2.0], [1.0, 2.0]), one, one]
  stack = mahalanobis.SelectiveState(np.stack([s.precision for s in seeds]))
  state = {"branches": {"autoencoder": {"backend": stack}}}
  train = clips(source=5, target=num)
  found = findings.state_notes(system, state, "fan 00", train)
  lead = "fan 00: covariance not positive definite: "
  assert [n.removeprefix(lead).split(";")[0] for n in found] == want


def test_wrapped_backends_tell_the_notes_of_the_inner_one():
  inner = base.Backend(
    lambda bank: {},
    lambda state, emb: emb,
    notes=lambda state, num: [f"{state['x']} of {num.source}"],
  )
  num = base.NumClips(source=7, target=0)
  rows = {"x": np.array([1, 2, 1])}
  assert base.per_frequency(inner).notes(rows, num) == ["1 of 7", "2 of 7"]
  both = {"state": rows, "empty": np.zeros(2)}
  assert base.per_domain(inner).notes(both, num) == ["1 of 7", "2 of 7"]
  blended = prototypes.prototypes(inner)
  assert blended.notes({"full": {"x": 4}, "chosen": {}}, num) == ["4 of 7"]
  assert base.per_domain(base.embedding()).notes is None


def put(folder, name, samples):
  path = folder / name
  soundfile.write(path, samples, 16_000)
  return SimpleNamespace(path=path, name=name, channels=(), recording=None)


def test_training_clips_that_tell_less_than_their_number(tmp_path):
  draw = np.random.default_rng(0)
  some = [0.1 * draw.standard_normal((400, 2)) for _ in range(3)]
  for samples in some:
    samples[:, 1] = 0
  train = [put(tmp_path, f"{i}.wav", some[i % 3]) for i in range(5)]
  heard = [hearing.levels(some[i % 3].T.astype(np.float32)) for i in range(5)]
  copies, dead = findings.sameness_notes("fan 00", train, hearing.usual(heard))
  assert copies.startswith(
    "fan 00: 2 of 5 training clips are copies of others (3.wav of 0.wav)"
  )
  assert dead.startswith("fan 00: channel 1 is dead in most training clips")
  assert findings.sameness_notes("fan 00", train[:3], {}) == []
