"""LUDO's system 4 from the waveform to the embedding of its bank.

There is no reference run of the whole system; of its encoder there is one, on
shorter clips than the system's, which are compared here with the config's own
stages. All that comes after is that of system 1, which has a reference.
"""

import numpy as np
import pytest

from asd_jax.engine import encode, sources, system
from configs import ludo_system1, ludo_system4
from tests import quick
from tests.encoders import test_audiomaepp_golden as reference

pytestmark = pytest.mark.golden
SCENE = reference.SCENE


def test_the_stages_of_the_config_give_the_reference_embedding(golden):
  case = reference.Case(golden("encoders/audiomaepp"))
  spec = ludo_system4.get_config().branches.audiomaepp.to_dict()
  assert spec["frontend"] == dict(name="audiomaepp_mel", num_samples=160_000)
  assert (spec["encoder"]["size"], spec["encoder"]["layer"]) == (
    "tiny",
    "output",
  )
  spec["frontend"]["num_samples"] = None  # the reference has 2.2 s
  spec["encoder"]["size"] = case.settings
  branch, hypers = system.build_branch("a", spec)
  branches, source = {"a": branch}, sources.of({"a": branch})["a"]

  def run(wave):
    front, weights = encode.unfitted(branches), {source: case.params}
    found = encode.clip_features(branches, front, weights, wave)["a"]
    return found, branch.detect.view(found, **hypers["view"])

  # The clips of the reference as the two channels of one.
  wave, want = case.z["waveform"][:2], case.z["output_scene"][:2]
  found, residual = quick.jit(run)(wave)
  np.testing.assert_allclose(found, want, rtol=0, atol=SCENE)
  expected = want[0] - 0.5 * want[1]
  np.testing.assert_allclose(residual, expected, rtol=0, atol=1.5 * SCENE)


def test_it_is_system_1_but_for_the_encoder():
  one, four = (
    next(iter(m.get_config().branches.values())).to_dict()
    for m in (ludo_system1, ludo_system4)
  )
  differ = {k for k in one if one[k] != four[k]}
  assert differ == {"frontend", "encoder"}
