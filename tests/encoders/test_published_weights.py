"""Every name of every published file finds its place, without the files."""

import json
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import traverse_util

from asd_jax.encoders import beats, convert, dasheng, eat, published, sslam
from asd_jax.weights import rules
from tests.conftest import GOLDENS

MODULES = {"beats": beats, "eat": eat, "sslam": sslam, "dasheng": dasheng}
# Name patterns (`#` is the block) and shapes of the published files.
PUBLISHED = json.loads(
  Path(__file__).with_name("published_weights.json").read_text()
)
SIZES = [(f, size) for f, sizes in PUBLISHED.items() for size in sizes]
FILES = {
  "eat": ("eat.pt", "eat.safetensors"),
  "sslam": ("sslam.pt", "sslam.safetensors"),
  "beats": ("beats.pt", "beats_finetuned.pt"),
  "dasheng": ("dasheng.pt", "dasheng.safetensors"),
}
STATISTICS = ("input_norm/mean", "input_norm/var")


def expanded(patterns, depth):
  return {
    name.replace("#", str(i)): value.replace("#", str(i))
    if isinstance(value, str)
    else value
    for name, value in patterns.items()
    for i in range(depth if "#" in name else 1)
  }


def names_and_shapes(family, size, *, hub=False):
  about = PUBLISHED[family][size]
  shapes = expanded(about["weights"], about["depth"])
  if hub:
    renamed = expanded(about["hub"], about["depth"])
    return {renamed[name]: shape for name, shape in shapes.items()}
  return {**about["ignored"], **shapes}


def ported(family, shapes, beside=None):
  found = rules.official(rules.shapes_only(shapes), rules.FAMILIES[family])
  return MODULES[family].port(found, beside or {})


def flat(tree, place=""):
  for name, value in tree.items():
    if isinstance(value, dict):
      yield from flat(value, f"{place}{name}/")
    else:
      yield f"{place}{name}", value


def same(one, other):
  one, other = dict(flat(one)), dict(flat(other))
  assert set(one) == set(other)
  for path, value in one.items():
    np.testing.assert_array_equal(value, other[path], path, strict=True)


def test_all_families_are_here():
  assert set(PUBLISHED) == set(convert.PORTS) == set(rules.FAMILIES)
  assert set(PUBLISHED) == set(published.SIZES)
  sources = {(s.family, s.size) for s in published.SOURCES}
  assert sources == set(SIZES)
  for family, module in MODULES.items():
    assert set(PUBLISHED[family]) == set(module.SIZES)


@pytest.mark.parametrize(("family", "size"), SIZES)
def test_every_name_is_used_once(family, size):
  about = PUBLISHED[family][size]
  tree, settings = ported(family, names_and_shapes(family, size))
  config = about["config"]
  beside = {
    "beats": {"cfg": config},
    "dasheng": {"config": config},
  }.get(family, {"cfg": {"model": config}})
  weights = rules.shapes_only(expanded(about["weights"], about["depth"]))
  assert MODULES[family].settings_of(weights, beside) == settings
  encoder = MODULES[family].of_settings(settings)
  found = {path: value.shape for path, value in flat(tree)}
  assert found == encoder.about.shapes()
  count = sum(np.prod(s) for p, s in found.items() if p not in STATISTICS)
  assert count == about["parameters"]
  tied = about["depth"] - 1 if family == "beats" else 0
  assert len(found) == len(expanded(about["weights"], about["depth"])) - tied
  # What `size` builds is what the file says.
  (make,) = MODULES[family].ENCODERS.values()
  assert make(size=size).about.settings == encoder.about.settings == settings
  about = make(size=settings).about
  assert about.family.name == encoder.about.family.name == family
  assert published.size_of(family, settings) == size
  assert published.source_of(family, size).size == size


@pytest.mark.parametrize(
  ("family", "size"), [s for s in SIZES if s[0] != "beats"]
)
def test_the_names_of_the_hub_lead_to_the_same_places(family, size):
  both = [
    rules.official(
      rules.shapes_only(names_and_shapes(family, size, hub=hub)),
      rules.FAMILIES[family],
    )
    for hub in (True, False)
  ]
  shapes = [{n: x.shape for n, x in found.items()} for found in both]
  assert shapes[0] == shapes[1]


@pytest.mark.parametrize("family", MODULES)
def test_missing_and_extra_weights_are_listed(family):
  shapes = names_and_shapes(family, "base")
  some = [n for n in shapes if n.endswith("fc1.weight")]
  for name in some[:-1]:
    del shapes[name]
  with pytest.raises(ValueError, match=r"fc1/kernel.* and 6 more; expected"):
    ported(family, shapes)
  shapes = names_and_shapes(family, "base")
  with pytest.raises(ValueError, match="without a place: extra"):
    ported(family, {**shapes, "extra": (1,)})
  shapes[some[0]] = (7, 7)
  with pytest.raises(ValueError, match=r"other shapes: .*fc1.* \[7, 7\]"):
    ported(family, shapes)


@pytest.mark.parametrize("family", MODULES)
def test_a_file_of_few_weights_lists_what_is_missing(family):
  first = names_and_shapes(family, "base")
  marks = [
    n for n in first if rules.re.fullmatch(rules.FAMILIES[family].mark, n)
  ]
  with pytest.raises(ValueError, match="found no weights for .* more; expect"):
    ported(family, {n: first[n] for n in marks})


@pytest.mark.parametrize("module", [eat, sslam, dasheng, beats])
def test_sizes_and_heads_that_do_not_fit_are_refused(module):
  (make,) = module.ENCODERS.values()
  with pytest.raises(ValueError, match="found size 'giant', expected one of"):
    make(size="giant")
  with pytest.raises(ValueError, match="found dtype 'int8'"):
    make(dtype="int8")
  with pytest.raises(ValueError, match="found size None, expected one of"):
    make(size=None)
  base = module.SIZES["base"]
  for heads in (None, 0, 7, "12"):
    with pytest.raises(ValueError, match=f"{heads!r} heads for the width 768"):
      make(size={**base, "num_heads": heads})
  wrong = {**base, "heads": 12}
  del wrong["num_heads"], wrong["width"]
  for build in (module.of_settings, lambda settings: make(size=settings)):
    with pytest.raises(
      ValueError, match=r"missing \[.*width.*\], unknown"
    ) as e:
      build(wrong)
    assert "num_heads" in str(e.value).split("unknown")[0]
    assert "unknown ['heads']" in str(e.value)
  for value in (0, 1.0, "3", True, None):
    with pytest.raises(ValueError, match="found {'depth': .*}, expected posi"):
      make(size={**base, "depth": value})


def test_a_network_without_a_published_size():
  settings = {**eat.SIZES["base"], "depth": 3}
  assert published.size_of("eat", settings) is None
  assert published.source_of("eat", None) is None
  assert published.size_of("another", settings) is None


def test_a_name_that_many_files_have_tells_nothing():
  names = [n for s in published.SOURCES for n in published.own_names(s)]
  assert len(names) == len(set(names))
  assert not {"model.safetensors", "checkpoint_last.pt"} & set(names)
  assert {"BEATs_iter3.pt", "dasheng_06b.pt"} <= set(names)


def test_the_page_about_weights_lists_the_same():
  page = (Path(__file__).parents[2] / "docs/weights.md").read_text()
  table = page.split("## Where they are")[1].strip().split("\n\n")[0]
  rows = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in table.splitlines()[2:]
  ]
  assert rows == [
    [
      s.title,
      f"`{s.family}`, `{s.size}`",
      ", ".join(f"`{name}`" for name in s.files),
      f"`{s.hub}`" if s.hub else "",
      s.where,
      s.licence,
    ]
    for s in published.SOURCES
  ]


@pytest.mark.parametrize(
  ("module", "beside", "told"),
  [
    (eat, {"cfg": {"model": {"num_heads": 12.0}}}, "num_heads='12.0'"),
    (eat, {"cfg": {"model": {"layer_norm_first": True}}}, "layer_norm_first"),
    (dasheng, {"config": {"target_length": "x"}}, "target_length='x'"),
    (dasheng, {"config": {"num_heads": 0}}, "num_heads='0'"),
  ],
)
def test_odd_configurations_are_refused(module, beside, told):
  with pytest.raises(ValueError, match=told):
    module.settings_of({}, beside)


def test_groups_of_channels_must_divide_the_width():
  name = "encoder.pos_conv.0.weight_v"
  odd = rules.shapes_only({name: (768, 50, 128)})
  with pytest.raises(ValueError, match="found 50 channels a group"):
    beats.settings_of(odd, {})


def read(name, family):
  tensors, beside = convert.official(GOLDENS / "checkpoints" / name, family)
  return convert.PORTS[family](tensors, beside)


@pytest.mark.golden
@pytest.mark.parametrize("family", FILES)
def test_files_of_one_encoder_give_one_tree(family, golden, tmp_path):
  one, other = FILES[family]
  tree, settings = read(one, family)
  same(tree, read(other, family)[0])
  z = golden(f"encoders/{family}")
  weights = {
    k.removeprefix("param/"): z[k] for k in z.files if k.startswith("param/")
  }
  found = rules.official(weights, rules.FAMILIES[family])
  same(tree, MODULES[family].port(found, {})[0])
  out = convert.convert(GOLDENS / "checkpoints" / one, family, tmp_path / "out")
  about = json.loads((out / "encoder.json").read_text())
  assert about["encoder"] == settings
  assert settings["num_heads"]
  shapes = MODULES[family].of_settings(about["encoder"]).about.shapes()
  target = traverse_util.unflatten_dict(
    {path: np.zeros(s, np.float32) for path, s in shapes.items()}, sep="/"
  )
  with ocp.StandardCheckpointer() as checkpointer:
    loaded = checkpointer.restore(out / "params", target)
  same(loaded, tree)


@pytest.mark.golden
def test_half_precision_is_widened():
  tree, _ = read("eat_fp16.pt", "eat")
  wide = rules.in_float32(tree)
  exact, _ = read("eat.pt", "eat")
  for (path, found), (_, want) in zip(flat(wide), flat(exact), strict=True):
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.float16(want), path)


@pytest.mark.golden
@pytest.mark.parametrize(
  ("name", "family"),
  [
    ("ced.pt", "dasheng"),
    ("fisher.pt", "eat"),
    ("fisher.pt", "sslam"),
    ("eat_numpy_scalars.pt", "eat"),
    ("fairseq_omegaconf.pt", "eat"),
  ],
)
def test_models_with_like_names_and_parts_are_refused(name, family):
  with pytest.raises(
    ValueError, match="found (other shapes|a FISHER|an unknown model)"
  ):
    read(name, family)
