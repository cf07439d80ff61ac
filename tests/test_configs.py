"""What configs say of encoders, at full size and in `:smoke`."""

import pytest

from asd_jax.encoders import zoo
from configs import (
  common,
  dongyuan_system1,
  dongyuan_system2,
  dongyuan_system3,
  dongyuan_system4,
  encoder_zoo,
  ludo_fig1,
  ludo_system1,
  ludo_system2,
  ludo_system3,
  merl_dis_beats,
  merl_dis_eat,
)


def layers(config):
  return {n: b.encoder.layer for n, b in config.branches.items()}


def test_branches_of_full_size_take_the_layers_of_the_submission():
  assert layers(ludo_system2.get_config("")) == dict(
    beats_l6="layer_6",
    beats_l12="layer_12",
    dasheng_l1="output",
    sslam_l6="layer_6",
    sslam_l12="layer_12",
  )


def test_the_encoder_of_smoke_has_two_blocks():
  for c in (ludo_system2.get_config("smoke"), ludo_fig1.get_config("smoke")):
    assert {*layers(c).values()} <= {"layer_1", "output"}
    assert {b.encoder.size for b in c.branches.values()} == {"smoke"}


def test_an_entry_of_the_checkpoints_names_the_weights_of_all_its_branches():
  c = common.run("x")
  encoder = common.add_encoder(c, "eat", size="large")
  c.branches = {n: common.branch(encoder=encoder(n)) for n in ("a", "b")}
  c.checkpoints.eat_large = "FILE"
  c.precision = "bfloat16"
  for name, branch in c.branches.items():
    assert dict(branch.encoder) == dict(
      name="eat",
      size="large",
      layer=name,
      dtype="bfloat16",
      checkpoint="FILE",
    )


def test_the_zoo_has_every_published_size_of_every_family():
  known = {n: {*f.sizes} - {"smoke"} for n, f in zoo.FAMILIES.items()}
  assert {n: {*sizes} for n, sizes in encoder_zoo.SIZES.items()} == known


def test_rows_of_the_zoo_are_ludos_steps_and_systems():
  names = [encoder_zoo.get_config(row).system for row in encoder_zoo.ROWS]
  assert len({*names}) == 3 * len(encoder_zoo.ENCODERS)
  branch = lambda arg: encoder_zoo.get_config(arg).branches.sslam
  assert branch("sslam_base,near").view.alpha == 0.0
  system3 = ludo_system3.get_config("").branches.sslam
  assert branch("sslam_base,residual") == system3
  assert branch("sslam_base,prps") == ludo_system1.get_config("").branches.sslam
  found = encoder_zoo.get_config("audiomaepp_tiny,prps").published
  assert found.development == 0.5989
  with pytest.raises(ValueError, match="sslam_base,prps"):
    encoder_zoo.get_config("sslam_base,both")


@pytest.mark.parametrize(
  ("config", "channels", "weights"),
  [
    (dongyuan_system1, (0, 0), dict(beats=0.85, audiomae=0.15)),
    (dongyuan_system2, (0, 1), dict(beats=0.85, audiomae=0.15)),
    (dongyuan_system3, (0, 0), dict(beats=0.9, audiomae=0.1)),
    (dongyuan_system4, (0, 0), dict(beats=1.0)),
  ],
)
def test_near_twice_is_for_use_alone(config, channels, weights):
  c = config.get_config("")
  assert {n: b.weight for n, b in c.branches.items()} == weights
  for branch in c.branches.values():
    assert branch.channels == channels
    assert branch.encoder.adapt.channels == (0, 1)


def test_a_smoke_variant_changes_sizes_of_a_training_alone():
  small = ("optimiser", "seconds", "batch_size", "num_steps")
  for config, family in ((merl_dis_beats, "beats"), (merl_dis_eat, "eat")):
    full, smoke = (
      config.get_config(arg).branches[family].encoder.adapt.to_dict()
      for arg in ("", "smoke")
    )
    assert full.keys() | {"num_steps"} == smoke.keys()
    assert all(smoke[k] == v for k, v in full.items() if k not in small)
