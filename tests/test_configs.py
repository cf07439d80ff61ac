"""What configs say of encoders, at full size and in `:smoke`."""

import pytest

from asd_jax.encoders import zoo
from asd_jax.engine import recipe
from asd_jax.training import optimiser
from configs import (
  common,
  dongyuan_system1,
  dongyuan_system2,
  dongyuan_system3,
  dongyuan_system4,
  encoder_zoo,
  fusion_best,
  ludo_fig1,
  ludo_system1,
  ludo_system2,
  ludo_system3,
  merl_dis_beats,
  merl_dis_eat,
  merl_system1,
  merl_system2,
  merl_system3,
  merl_system4,
  merl_table3,
  published,
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
  # Noise-aware ones have no view that nobody made for them.
  known = {
    n: {*f.sizes} - {"smoke"} for n, f in zoo.FAMILIES.items() if not f.inner
  }
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


def test_every_part_of_a_recipe_can_be_set_on_the_command_line():
  known = recipe.Recipe._field_defaults
  assert {k: known[k] for k in common.ADAPT} == common.ADAPT
  # Mappings are no defaults: what they would hold has no key.
  assert known.keys() - common.ADAPT.keys() == {"optimiser", "mixstyle"}
  adapt = merl_dis_beats.get_config("").branches.beats.encoder.adapt
  assert {*adapt.optimiser} >= optimiser.DEFAULTS.keys()
  adapt.optimiser.head_learning_rate = 1e-3
  assert adapt.to_dict()["optimiser"]["head_learning_rate"] == 1e-3


def test_trainings_of_noise_aware_layers_have_a_seed_and_a_file_each():
  c = merl_system1.get_config("")
  assert {*c.members} == {
    (f"dis_na_{inner}_{i}", i + 1)
    for inner in ("eat", "beats")
    for i in range(3)
  }
  for name, branch in c.branches.items():
    inner, number = name.split("_")[2:]
    encoder = branch.encoder
    file = f"dcase2026_na{inner}_seed{number}.ckpt"
    assert (encoder.checkpoint, encoder.base) == (file, "")
    assert branch.channels == (0, 1)
  c.checkpoints.eat_base = "FILE"
  c.checkpoints.na_eat_seed1 = "LAYERS"
  encoder = c.branches.dis_na_eat_1.encoder
  assert (encoder.checkpoint, encoder.base) == ("LAYERS", "FILE")
  assert c.branches.dis_na_eat_0.encoder.base == "FILE"


def shares(config):
  """Share of each branch of a system in its fusion, by encoder."""
  seeds = {n: 1 for n in config.branches}
  for name, _ in config.members:
    seeds[name] = sum(n == name for n, _ in config.members)
  out = {}
  for name, branch in config.branches.items():
    encoder = name.rstrip("_012")
    out[encoder] = out.get(encoder, 0.0) + branch.weight * seeds[name]
  return {n: v / sum(out.values()) for n, v in out.items()}


def test_three_trainings_count_as_one_encoder():
  found = shares(merl_system2.get_config(""))
  told = dict(beats=1, eat=0.5, eat_large=0.5, na_eat=1, na_beats=1)
  assert found == pytest.approx({n: w / 4 for n, w in told.items()})
  when = {b.when for b in merl_system4.get_config("").branches.values()}
  assert when == {"attributes", "no_attributes"}


def test_teams_have_a_fifth_each():
  c = fusion_best.get_config("")
  found = {}
  for name, share in shares(c).items():
    team = name.partition("_")[0]
    found[team] = found.get(team, 0.0) + share
  assert found == pytest.approx(dict.fromkeys(fusion_best.SYSTEMS, 0.2))
  assert {b.calibration.name for b in c.branches.values()} == {"percentile"}
  # Systems share the encoders that they have in common.
  c.checkpoints.beats_base = "FILE"
  c.precision = "bfloat16"
  assert c.branches.dongyuan_beats.encoder.checkpoint == "FILE"
  assert c.branches.merl_dis_na_beats_2.encoder.base == "FILE"
  for branch in c.branches.values():
    assert branch.encoder.get("dtype", "bfloat16") == "bfloat16"


@pytest.mark.parametrize(
  "config", [merl_system1, merl_system2, merl_system3, merl_system4]
)
def test_merls_systems_have_their_published_numbers(config):
  name = config.__name__.removeprefix("configs.")
  for arg in ("", "smoke"):
    c = config.get_config(arg)
    assert c.system == name
    assert c.published.to_dict() == published.of(name)
    assert c.published.development == published.fraction(
      published.MERL[name][-1]
    )
    frequency = {tuple(b.wrappers) for b in c.branches.values()}
    assert frequency == {("per_frequency",)}


def test_every_row_of_merls_tables_is_a_system():
  found = {merl_table3.get_config(r).system for r in merl_table3.ROWS}
  assert found == {*published.MERL_ENCODERS}
  for row in merl_table3.ROWS:
    c = merl_table3.get_config(row)
    assert c.published.to_dict() == published.of(c.system)
    for branch in c.branches.values():
      assert branch.backend.name == "variance_minimised"
      assert branch.pooling.name == "mean_time"
