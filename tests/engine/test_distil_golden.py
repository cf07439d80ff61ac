"""The loss of a pre-training against the published code, from the waveforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.encoders import family
from asd_jax.engine import distil_networks
from asd_jax.training import distillation, optimiser
from tests import quick
from tests.encoders import test_noise_aware_golden as official

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module", params=[*official.FAMILIES])
def case(golden, request):
  return official.Case(request.param, golden(f"encoders/{request.param}"))


def plan(case):
  """What a step does with the networks of a golden file."""
  base = case.family.network.base
  own = {k: case.settings[k] for k in next(iter(base.sizes.values()))}
  made = distil_networks.Networks(
    student=family.make(case.family, case.settings),
    base=family.make(base, own),
    front=official.FRONTENDS[case.name](),
    precision="float32",
    dropout=0.1,
    gradient_decay=1.0,
    remat=False,
  )
  student = distil_networks.student(made)
  return student, distillation.Plan(
    init=lambda key, start: (student.fresh(key), start),
    sounds=lambda frozen, batch: batch,
    valid_sounds=lambda frozen, batch: batch,
    hear=lambda wave: made.front.apply({}, wave),
    student=student.apply,
    teacher=distil_networks.teacher(made),
    optimiser=optimiser.make({}, 100, grouped=False),
  )


def test_the_loss_from_the_waveforms(case):
  z = case.z
  student, found = plan(case)
  sounds = distillation.Sounds(
    *(jnp.asarray(z[f"waveform_{n}"]) for n in ("near", "far", "clean"))
  )
  frozen = {"base": case.params["base"]}

  # The networks of these programs are compared as users compile them there.
  @quick.jit
  def loss(layers, key):
    one = lambda key: distillation.objective(key, found, layers, frozen, sounds)
    return one(None), one(key)[0]

  (value, terms), dropped = loss(case.params["layers"], jax.random.key(0))
  np.testing.assert_allclose(value, z["loss"], rtol=1e-4)
  for name in ("loss_tokens", "loss_cls"):
    if name in z.files:
      np.testing.assert_allclose(terms[name], z[name], rtol=1e-4)
  # A key is of the training alone, where weights of the attention are dropped:
  # a few of the many of two clips.
  assert abs(float(dropped) / float(value) - 1) > 1e-5
  fresh, same = loss(student.fresh(jax.random.key(1)), jax.random.key(0))
  np.testing.assert_allclose(fresh[0], z["loss_identity_init"], rtol=1e-4)
  # Fresh layers add nothing, whatever is dropped in them.
  assert float(same) == pytest.approx(float(fresh[0]), rel=1e-6)
