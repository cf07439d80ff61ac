"""Official names, their other layouts, and rules into a parameter tree."""

import json
import re

import numpy as np
import pytest

from asd_jax.encoders.zoo import FAMILIES, LOOKS
from asd_jax.weights import read as weights_file
from asd_jax.weights import rules
from asd_jax.weights.rules import Rule
from tests.conftest import GOLDENS
from tests.weights import stand_ins

FOLDER = GOLDENS / "checkpoints"
FILES = json.loads((FOLDER / "expected.json").read_text())["files"]
OURS = [
  name
  for name, about in FILES.items()
  if about.get("golden") in FAMILIES
  # Those that lack weights are looked at beside their family's goldens.
  and not (about.get("partial") or about.get("missing"))
]
RULES = (
  Rule(r"norm\.weight", "norm/scale"),
  Rule(r"norm\.bias", "norm/bias"),
  Rule(r"blocks\.(\d+)\.fc\.weight", r"blocks_\1/fc/kernel", "linear"),
  Rule(r"proj\.weight", "proj/kernel", "conv_2d"),
)
SHAPES = {
  "norm.weight": (3,),
  "norm.bias": (3,),
  "blocks.0.fc.weight": (4, 3),
  "blocks.1.fc.weight": (4, 3),
  "proj.weight": (3, 1, 2, 5),
}
EXPECTED = {
  "norm/scale": (3,),
  "norm/bias": (3,),
  "blocks_0/fc/kernel": (3, 4),
  "blocks_1/fc/kernel": (3, 4),
  "proj/kernel": (2, 5, 1, 3),
}


def named(tensors, family, others=()):
  known = FAMILIES[family]
  return rules.official(
    tensors, known.names, title=known.title, others=others, looks=LOOKS
  )


def official(name, family):
  weights = weights_file.read(FOLDER / name)
  return named(weights.tensors, family, weights.others)


@pytest.mark.golden
@pytest.mark.parametrize("name", OURS)
def test_every_layout_gives_the_golden_parameters(name, golden):
  family = FILES[name]["golden"]
  z = golden(f"encoders/{family}")
  want = {k.removeprefix("param/") for k in z.files if k.startswith("param/")}
  found = official(name, family)
  tied = {k for k in want - set(found) if "relative_attention_bias" in k}
  ignored = {
    k
    for k in want - set(found)
    if any(rules.re.fullmatch(p, k) for p in FAMILIES[family].names.ignore)
  }
  assert set(found) == want - tied - ignored
  assert bool(tied) == bool(FAMILIES[family].names.tied)
  for key, array in found.items():
    expected = z[f"param/{key}"].astype(array.dtype)
    np.testing.assert_array_equal(array, expected, err_msg=key, strict=True)


@pytest.mark.golden
@pytest.mark.parametrize("family", FAMILIES)
def test_files_of_other_models_are_refused(family):
  alike = {
    "eat": "sslam",
    "sslam": "eat",
    "ced": "dasheng",
    "audiomae_finetuned": "audiomae",
  }.get(family)
  title = re.escape(FAMILIES[family].title)
  for name, about in FILES.items():
    other = about.get("golden")
    # CED names its training-code weights as DaSheng does, FISHER as EAT does:
    # their shapes tell them apart.
    if other in (None, family, alike, "fisher") or (
      other == "ced" and family == "dasheng" and name.endswith(".pt")
    ):
      continue
    with pytest.raises(ValueError, match=f"expected {title} weights"):
      official(name, family)


@pytest.mark.golden
def test_a_tokenizer_is_no_encoder():
  with pytest.raises(ValueError, match="tokenizer"):
    official("beats_tokenizer.pt", "beats")


def data2vec(prefix, *, norm="modality_encoders.IMAGE.context_encoder.norm"):
  band = "" if norm == "pre_norm" else "modality_encoders.IMAGE."
  names = [
    f"{band}fixed_positional_encoder.positions",
    f"{norm}.weight",
    "blocks.0.attn.qkv.weight",
  ]
  return stand_ins.shapes_only({prefix + n: (1,) for n in names})


@pytest.mark.parametrize(
  "tensors",
  [data2vec(""), data2vec("model."), data2vec("model.", norm="pre_norm")],
  ids=["training", "fine-tuned", "hub"],
)
def test_the_layouts_of_eat(tensors):
  assert set(named(tensors, "eat")) == set(data2vec(""))


def test_heads_and_second_copies_are_left_out():
  head = {"model.fc_norm.bias": np.zeros(1), "model.head.weight": np.zeros(1)}
  hub = data2vec("model.", norm="pre_norm")
  for tensors, others in ((data2vec("model."), ["model._ema"]), (hub, [])):
    found = named({**tensors, **head}, "sslam", others)
    assert set(found) == set(data2vec(""))


def test_an_entry_that_is_no_tensor_is_an_error():
  with pytest.raises(ValueError, match=r"no tensor under blocks\.1\.x"):
    named(data2vec(""), "eat", ["_ema", "blocks.1.x"])


def test_tied_tables_must_be_equal():
  layer = "encoder.layers.{}.self_attn.{}.weight".format
  table = np.arange(4.0)
  tensors = {
    layer(0, "grep_linear"): table,
    layer(0, "relative_attention_bias"): table,
    layer(1, "relative_attention_bias"): table.copy(),
  }
  found = named(tensors, "beats")
  assert layer(0, "relative_attention_bias") in found
  assert layer(1, "relative_attention_bias") not in found
  tensors[layer(1, "relative_attention_bias")][2] = 7.0
  with pytest.raises(ValueError, match="unlike"):
    named(tensors, "beats")
  del tensors[layer(0, "relative_attention_bias")]
  with pytest.raises(ValueError, match="unlike"):
    named(tensors, "beats")


def test_a_name_that_comes_twice_is_an_error():
  tensors = {**data2vec("model."), **data2vec("")}
  with pytest.raises(ValueError, match="twice"):
    named(tensors, "eat")


def random(shapes):
  rng = np.random.default_rng(0)
  return {n: rng.normal(size=s).astype(np.float16) for n, s in shapes.items()}


def test_rules_place_and_turn_the_weights():
  tensors = random(SHAPES)
  tree = rules.to_tree(tensors, RULES, EXPECTED)
  np.testing.assert_array_equal(tree["norm"]["bias"], tensors["norm.bias"])
  fc = tensors["blocks.1.fc.weight"]
  np.testing.assert_array_equal(tree["blocks_1"]["fc"]["kernel"], fc.T)
  proj = tensors["proj.weight"]
  assert tree["proj"]["kernel"][1, 4, 0, 2] == proj[2, 0, 1, 4]
  wide = rules.in_float32(tree)
  kernel = wide["blocks_1"]["fc"]["kernel"]
  assert kernel.dtype == np.float32
  assert kernel.flags.c_contiguous
  np.testing.assert_array_equal(kernel, fc.T)


def test_convolution_axes_are_those_of_flax():
  x = np.zeros((7, 3, 5))
  assert rules.TRANSFORMS["conv_1d"](x).shape == (5, 3, 7)
  x = np.zeros((7, 3, 5, 2))
  assert rules.TRANSFORMS["conv_2d"](x).shape == (5, 2, 3, 7)


def test_rules_can_be_tried_without_weights():
  big = {"blocks.0.fc.weight": (10**6, 10**6)}
  tree = rules.to_tree(
    stand_ins.shapes_only(big), RULES, {"blocks_0/fc/kernel": (10**6, 10**6)}
  )
  assert tree["blocks_0"]["fc"]["kernel"].shape == (10**6, 10**6)


@pytest.mark.parametrize(
  ("shapes", "expected", "match"),
  [
    (SHAPES | {"x": (1,)}, EXPECTED, "without a place: x"),
    (SHAPES, EXPECTED | {"x": (1,)}, "no weights for x"),
    (SHAPES, {k: EXPECTED[k] for k in EXPECTED if k[-1] != "s"}, "norm.bias"),
    (SHAPES | {"norm.bias": (4,)}, EXPECTED, r"norm\.bias \[4\] for \[3\]"),
    (SHAPES | {"proj.weight": (3, 2)}, EXPECTED, r"proj\.weight of shape"),
    ({}, EXPECTED, "no weights for norm/scale, .* 5 parameters"),
  ],
  ids=["extra", "missing", "not there", "shape", "axes", "none"],
)
def test_what_is_left_over_is_an_error(shapes, expected, match):
  with pytest.raises(ValueError, match=match):
    rules.to_tree(random(shapes), RULES, expected)


@pytest.mark.parametrize("kind", ["int8", "bool", "uint8", "complex64"])
def test_what_is_no_real_number_is_an_error(kind):
  tensors = random(SHAPES) | {"norm.bias": np.ones(3, kind)}
  with pytest.raises(ValueError, match=f"norm.bias of type {kind}"):
    rules.to_tree(tensors, RULES, EXPECTED)


def test_the_first_five_names_are_listed():
  extra = {f"x{i}": (1,) for i in range(8)}
  with pytest.raises(ValueError, match=r"x0, x1, x2, x3, x4 and 3 more"):
    rules.to_tree(random(SHAPES | extra), RULES, EXPECTED)


def test_two_rules_or_two_names_for_one_place_are_errors():
  twice = (*RULES, Rule(r"norm\..*", "other"))
  with pytest.raises(ValueError, match="two rules"):
    rules.to_tree(random(SHAPES), twice, EXPECTED)
  same = (Rule(r"norm\..*", "norm/scale"), *RULES[2:])
  with pytest.raises(ValueError, match="for the place"):
    rules.to_tree(random(SHAPES), same, EXPECTED)


def test_a_model_is_told_from_its_names():
  told = lambda *names: rules.identify(names, LOOKS)
  assert told("quantize.embedding.weight") == "a BEATs tokenizer"
  assert told(*data2vec("model.")) == "EAT, SSLAM or FISHER"
  assert told("encoder.layers.0.self_attn.grep_linear.weight") == "BEATs"
  assert told("encoder.init_bn.bias", "encoder.time_pos_embed") == "CED"
  assert told("time_pos_embed") == "DaSheng or CED"
  assert told("module._orig_mod.time_pos_embed") == "DaSheng or CED"
  vits = "AudioMAE, AudioMAE fine-tuned or another ViT"
  assert told("x.pos_embed", "fc_norm.bias") == vits
  own = "encoder.blocks.0.ffn2.ln.weight"
  assert told("encoder.pos_embed", own) == "AudioMAE++"
  assert told("backbone.pos_embed", "backbone.norm_stats") == "M2D-CLAP"
  assert told("conv.weight") == "an unknown model"
