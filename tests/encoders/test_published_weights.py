"""Every name of every published file finds its place, without the files."""

import json
import re
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import traverse_util

from asd_jax.encoders import (
  audiomae,
  beats,
  ced,
  convert,
  dasheng,
  eat,
  family,
  fisher,
  places,
)
from asd_jax.encoders.zoo import FAMILIES
from asd_jax.weights import rules
from tests.conftest import GOLDENS
from tests.weights import stand_ins

# Name patterns and shapes of the published files, a file a family; `#` is the
# block, `#16` one of sixteen others.
PUBLISHED = {
  path.stem: json.loads(path.read_text())
  for path in sorted(Path(__file__).parent.glob("published_weights/*.json"))
}
SIZES = [(f, size) for f, sizes in PUBLISHED.items() for size in sizes]
FILES = {
  "eat": ("eat.pt", "eat.safetensors"),
  "sslam": ("sslam.pt", "sslam.safetensors"),
  "beats": ("beats.pt", "beats_finetuned.pt"),
  "dasheng": ("dasheng.pt", "dasheng.safetensors"),
  "ced": ("ced.pt", "ced.safetensors"),
  "fisher": ("fisher.pt", "fisher_prefixed.safetensors"),
  "audiomae": (
    "audiomae.pth",
    "audiomae_namespace.pth",
    "audiomae_timm.safetensors",
  ),
  "audiomaepp": ("audiomaepp.pth",),
}
# Where a file has its configuration, as `sizes_from` gets it.
BESIDE = {
  "beats": lambda config: {"cfg": config},
  "dasheng": lambda config: {"config": config},
  "ced": lambda config: {"config": config},
  **dict.fromkeys(
    (n for n, f in FAMILIES.items() if f.inner),
    lambda config: {"hyper_parameters": config},
  ),
}
STATISTICS = ("input_norm/mean", "input_norm/var")


def expanded(patterns, depth):
  out = {}
  for name, value in patterns.items():
    number = re.search(r"#(\d*)", name)
    for i in range(int(number[1] or depth) if number else 1):
      put = lambda text, i=i: re.sub(r"#\d*", str(i), text)
      out[put(name)] = put(value) if isinstance(value, str) else value
  return out


def one_size(name):
  """ "base", or else the first that is published."""
  return "base" if "base" in PUBLISHED[name] else next(iter(PUBLISHED[name]))


def _one_a_family_unmarked():
  """All sizes; the first of each family whatever is run."""
  more = lambda n, s: [pytest.mark.full] if s != one_size(n) else []
  return [pytest.param(n, s, marks=more(n, s)) for n, s in SIZES]


def names_and_shapes(name, size, *, hub=False):
  about = PUBLISHED[name][size]
  shapes = expanded(about["weights"], about["depth"])
  if hub:
    renamed = expanded(about["hub"], about["depth"])
    return {renamed[name]: shape for name, shape in shapes.items()}
  return {**expanded(about["ignored"], about["depth"]), **shapes}


def ported(name, arrays):
  known = FAMILIES[name]
  found = rules.official(arrays, known.names, title=known.title)
  return family.port(known, found, {})


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
  assert set(PUBLISHED) == set(FAMILIES)
  for name, known in FAMILIES.items():
    assert name == known.name
    assert {s.size for s in known.sources} == set(PUBLISHED[name])
    assert {*PUBLISHED[name], "smoke"} == set(known.sizes)


@pytest.mark.parametrize(("name", "size"), _one_a_family_unmarked())
def test_every_name_is_used_once(name, size):
  about, known = PUBLISHED[name][size], FAMILIES[name]
  arrays = stand_ins.shapes_only(names_and_shapes(name, size))
  tree, settings = ported(name, arrays)
  put = BESIDE.get(name, lambda config: {"cfg": {"model": config}})
  beside = put(about["config"])
  weights = stand_ins.shapes_only(expanded(about["weights"], about["depth"]))
  assert known.sizes_from(weights, beside) == settings
  encoder = family.make(known, settings)
  found = {path: value.shape for path, value in flat(tree)}
  assert found == encoder.about.shapes()
  learned = {p: s for p, s in found.items() if not p.endswith(STATISTICS)}
  count = sum(np.prod(s) for s in learned.values())
  assert count == about["parameters"]
  tied = about["depth"] - 1 if known.names.tied else 0
  # Some files lack a weight that others have.
  more = [n for n, _ in known.names.absent if n not in about["weights"]]
  names = expanded(about["weights"], about["depth"])
  stacked = sum(n.endswith(("in_proj_weight", "in_proj_bias")) for n in names)
  assert len(found) == len(names) - tied + len(more) + 2 * stacked
  # What `size` builds is what the file says.
  assert known(size=size).about.settings == encoder.about.settings == settings
  assert known(size=settings).about.family is known
  assert family.size_of(known, settings) == size
  assert places.source_of(encoder).size == size


@pytest.mark.parametrize(
  ("name", "size"), [(n, s) for n, s in SIZES if "hub" in PUBLISHED[n][s]]
)
def test_the_names_of_the_hub_lead_to_the_same_places(name, size):
  both = [
    rules.official(
      stand_ins.shapes_only(names_and_shapes(name, size, hub=hub)),
      FAMILIES[name].names,
      title=name,
    )
    for hub in (True, False)
  ]
  shapes = [{n: x.shape for n, x in found.items()} for found in both]
  assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", FAMILIES)
def test_missing_and_extra_weights_are_listed(name):
  about = PUBLISHED[name][one_size(name)]
  shapes = names_and_shapes(name, one_size(name))
  first = ("fc1.weight", "ffn1.layer1.weight")
  ours = expanded(about["weights"], about["depth"])
  some = [n for n in ours if n.endswith(first)]
  for weight in some[:-1]:
    del shapes[weight]
  told = rf"fc1/kernel.* and {len(some) - 6} more; expected"
  with pytest.raises(ValueError, match=told):
    ported(name, stand_ins.shapes_only(shapes))
  shapes = names_and_shapes(name, one_size(name))
  with pytest.raises(ValueError, match="without a place: extra"):
    ported(name, stand_ins.shapes_only({**shapes, "extra": (1,)}))
  shapes[some[-1]] = (7, 7)
  with pytest.raises(ValueError, match=r"other shapes: .*ff?[cn]1.* \[7, 7\]"):
    ported(name, stand_ins.shapes_only(shapes))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_file_of_few_weights_lists_what_is_missing(name):
  first = names_and_shapes(name, one_size(name))
  marks = [n for n in first if rules.re.fullmatch(FAMILIES[name].names.mark, n)]
  with pytest.raises(ValueError, match="found no weights for .* more; expect"):
    ported(name, stand_ins.shapes_only({n: first[n] for n in marks}))


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_sizes_and_heads_that_do_not_fit_are_refused(make):
  with pytest.raises(ValueError, match="found size 'giant', expected one of"):
    make(size="giant")
  with pytest.raises(ValueError, match="found dtype 'int8'"):
    make(size="smoke", dtype="int8")
  with pytest.raises(ValueError, match="found size None, expected one of"):
    make(size=None)
  base = make.sizes[one_size(make.name)]
  for heads in (None, 0, 7, "12"):
    with pytest.raises(ValueError, match=f"{heads!r} heads for the width"):
      make(size={**base, "num_heads": heads})
  wrong = {**base, "heads": 12}
  del wrong["num_heads"], wrong["width"]
  with pytest.raises(ValueError, match=r"missing \[.*width.*\], unknown") as e:
    make(size=wrong)
  assert "num_heads" in str(e.value).split("unknown")[0]
  assert "unknown ['heads']" in str(e.value)
  for value in (0, 1.0, "3", True, None):
    with pytest.raises(ValueError, match="found {'depth': .*}, expected posi"):
      make(size={**base, "depth": value})


def test_a_network_without_a_published_size():
  settings = {**eat.SIZES["base"], "depth": 3}
  assert family.size_of(eat.FAMILY, settings) is None
  for size in (settings, "smoke"):
    assert places.source_of(eat.FAMILY(size=size)) is None


def test_no_file_has_the_heads_of_the_network_of_smoke():
  assert eat.FAMILY.sizes["smoke"]["width"] == 48
  narrow = {"blocks.0.attn.qkv.weight": (144, 48)}
  narrow |= {"modality_encoders.IMAGE.local_encoder.proj.bias": (48,)}
  for module in (eat, fisher):
    found = module.sizes_from(stand_ins.shapes_only(narrow), {})
    assert (found["width"], found["num_heads"]) == (48, None)
  # Two published widths of FISHER are inferred; heads are 64 wide in any case.
  other = {n: (320,) for n in narrow if n.endswith("bias")}
  found = fisher.sizes_from(stand_ins.shapes_only(other), {})
  assert (found["width"], found["num_heads"]) == (320, 5)


def test_a_name_that_many_files_have_tells_nothing():
  sources = [s for f in FAMILIES.values() for s in f.sources]
  names = [n for s in sources for n in places.telling_names(s)]
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
      f"`{f.name}`, `{s.size}`",
      ", ".join(f"`{name}`" for name in s.files),
      f"`{s.hub}`" if s.hub else "",
      s.where,
      s.licence,
    ]
    for f in FAMILIES.values()
    for s in f.sources
  ]


IMAGE = {"band_width": 100, "modalities": {"image": {"flatten": "time"}}}


@pytest.mark.parametrize(
  ("module", "beside", "told"),
  [
    (eat, {"cfg": {"model": {"num_heads": 12.0}}}, "num_heads='12.0'"),
    (eat, {"cfg": {"model": {"layer_norm_first": True}}}, "layer_norm_first"),
    (dasheng, {"config": {"target_length": "x"}}, "target_length='x'"),
    (dasheng, {"config": {"num_heads": 0}}, "num_heads='0'"),
    (ced, {"config": {"target_length": -1}}, "target_length='-1'"),
    (fisher, {"cfg": {"model": {"band_width": 50}}}, "band_width='50' in"),
    (fisher, {"cfg": {"model": {"depth": 12}}}, "found an EAT or SSLAM enco"),
    (
      fisher,
      {"cfg": {"model": IMAGE}},
      "flatten='time' in the configuration of the file, expected 'freq'",
    ),
  ],
)
def test_odd_configurations_are_refused(module, beside, told):
  with pytest.raises(ValueError, match=told):
    module.sizes_from({}, beside)


def test_groups_of_channels_must_divide_the_width():
  name = "encoder.pos_conv.0.weight_v"
  odd = stand_ins.shapes_only({name: (768, 50, 128)})
  with pytest.raises(ValueError, match="found 50 channels a group"):
    beats.sizes_from(odd, {})


def read(file, known):
  tensors, beside = convert.official(GOLDENS / "checkpoints" / file, known)
  return family.port(known, tensors, beside)


@pytest.mark.golden
@pytest.mark.parametrize("name", FILES)
def test_files_of_one_encoder_give_one_tree(name, golden, tmp_path):
  (one, *others), known = FILES[name], FAMILIES[name]
  tree, settings = read(one, known)
  for other in others:
    same(tree, read(other, known)[0])
  z = golden(f"encoders/{name}")
  weights = {
    k.removeprefix("param/"): z[k] for k in z.files if k.startswith("param/")
  }
  same(tree, ported(name, weights)[0])
  out = convert.convert(GOLDENS / "checkpoints" / one, known, tmp_path / "out")
  about = json.loads((out / "encoder.json").read_text())
  assert about["encoder"] == settings
  heads = settings["num_heads"] or 1  # which not every file tells
  shapes = family.make(known, {**settings, "num_heads": heads}).about.shapes()
  target = traverse_util.unflatten_dict(
    {path: np.zeros(s, np.float32) for path, s in shapes.items()}, sep="/"
  )
  with ocp.StandardCheckpointer() as checkpointer:
    loaded = checkpointer.restore(out / "params", target)
  same(loaded, tree)


@pytest.mark.golden
def test_a_fine_tuned_audiomae_is_a_family_of_its_own(golden):
  file, z = "audiomae_finetuned.pth", golden("encoders/audiomae")
  with pytest.raises(ValueError, match="fine-tuned AudioMAE weights without a"):
    read(file, audiomae.FAMILY)
  parts = (k.partition("/") for k in z.files if k.startswith("param"))
  weights = {n: z[f"{head}/{n}"] for head, _, n in parts if n[:5] != "norm."}
  tree, _ = read(file, audiomae.FINETUNED)
  same(tree, ported("audiomae_finetuned", weights)[0])


@pytest.mark.golden
def test_half_precision_is_widened():
  tree, _ = read("eat_fp16.pt", eat.FAMILY)
  wide = rules.in_float32(tree)
  exact, _ = read("eat.pt", eat.FAMILY)
  for (path, found), (_, want) in zip(flat(wide), flat(exact), strict=True):
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.float16(want), path)


@pytest.mark.golden
@pytest.mark.parametrize(
  ("file", "name"),
  [
    ("ced.pt", "dasheng"),
    ("fisher.pt", "eat"),
    ("fisher.pt", "sslam"),
    ("eat_numpy_scalars.pt", "eat"),
    ("fairseq_omegaconf.pt", "eat"),
  ],
)
def test_models_with_like_names_and_parts_are_refused(file, name):
  with pytest.raises(
    ValueError, match="found (patches of 16 frames|a FISHER|an unknown model)"
  ):
    read(file, FAMILIES[name])
