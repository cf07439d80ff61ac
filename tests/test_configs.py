"""What configs say of encoders, at full size and in `:smoke`."""

from configs import common, ludo_fig1, ludo_system2


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
