"""One table of families: all else agrees with it, and a new one is data."""

import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from asd_jax import errors
from asd_jax.encoders import convert, load, places, zoo
from asd_jax.engine import stages
from tests.encoders import tenth_family

ROOT = Path(__file__).parents[2]
FAMILIES = zoo.FAMILIES
# Frames of 10 s, by front end.
FRAMES = {
  "audiomae_fbank": 1024,
  "audiomaepp_mel": 1004,
  "eat_fbank": 1024,
  "beats_fbank": 998,
  "dasheng_mel": 1001,
  "m2d_mel": 1001,
  "fisher_spectrum": 998,
}
# Of random weights: families, sizes, places and values behind one number.
DIGESTS = {
  "audiomae": "b815d63d9b0f9bedb42da318a4142815",
  "audiomaepp": "50462d470d325aadb9a61d07c6268c1b",
  "audiomae_finetuned": "9b40b39c6d000c33949828451d93420e",
  "beats": "345f924634c89fbe976b6780d4ed024c",
  "eat": "ed7686b0be508bb39d5dbd8300b229b8",
  "sslam": "125734e89223a85294e9639eff6063ea",
  "dasheng": "da205f19b5cb3ae2c24529e6ed1a63fe",
  "m2d_clap": "87972c16d599290c6d7e78f6735419f3",
  "ced": "e579e5c77aea505662d95168e209e5f4",
  "fisher": "37159cd219d7000e0309884c38bb2409",
  "na_beats": "49cee5e5e00fc80fcd4b663dd5c77d55",
  "na_eat": "977e9221b2c428f3e6fc25868b429230",
  "na_dasheng": "91ef36a1db338a0d02cff5f662fb9961",
  "film_beats": "b4ae862dc25baebb98cdba518718ac58",
  "d_beats": "c67102f7d9606ec1ea1729c0722b4d56",
}


def cells_of_page():
  """Rows of the table of `docs/encoders.md`, as cells."""
  page = (ROOT / "docs/encoders.md").read_text()
  table = next(p for p in page.split("\n\n") if p.startswith("| encoder"))
  head, _, *rows = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in table.splitlines()
  ]
  return [dict(zip(head, row, strict=True)) for row in rows]


def num_learned(about):
  """Parameters of a network, whose blocks after the first are alike."""

  def of_depth(depth):
    few = about.family(size={**about.settings, "depth": depth})
    shapes = few.about.shapes()
    # Running statistics of a norm are nothing that is learned.
    learned = [p for p in shapes if not p.endswith(("/mean", "/var"))]
    return sum(np.prod(shapes[p]) for p in learned)

  # Tracing forty blocks takes seconds.
  one, two = of_depth(1), of_depth(2)
  return one + (about.settings["depth"] - 1) * (two - one)


def test_the_page_about_encoders_lists_the_same():
  rows = cells_of_page()
  sizes = [(f.name, s) for f in FAMILIES.values() for s in f.sizes]
  assert sorted((r["encoder"], r["size"]) for r in rows) == sorted(
    (name, size) for name, size in sizes if size != "smoke"
  )
  for row in rows:
    encoder = FAMILIES[row["encoder"]](size=row["size"])
    about = encoder.about
    s = about.settings
    assert row["parameters"] == f"{num_learned(about):,}"
    assert row["blocks x width (heads)"] == (
      f"{s['depth']} x {s['width']} ({s['num_heads']})"
    )
    grid = "{} x {}".format(*about.num_patches(FRAMES[row["front end"]]))
    has_cls = bool(about.family.input.num_extra)
    tokens = row["tokens of 10 s, time x frequency"]
    in_parts = about.family.input.in_parts
    assert tokens == (
      grid + " and CLS" * has_cls + " in each of 2 parts" * in_parts
    )
    source = places.source_of(encoder)
    assert source.licence == row["licence of the weights"]


def test_the_code_of_the_page_runs():
  page = (ROOT / "docs/encoders.md").read_text()
  blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
  (code,) = [c for c in blocks if c.startswith("import jax")]
  for large, tiny in (("large", "smoke"), ("r_12", "r_1"), ("r_24", "r_2")):
    assert large in code
    code = code.replace(large, tiny)
  names = {"waves": np.zeros((1, 2, 160_000), np.float32)}
  exec(compile(code, "encoders.md", "exec"), names)
  assert names["out"]["layer_1"].grid.shape == (1, 2, 64, 8, 48)


def test_every_family_has_a_network_of_seconds():
  for name, family in FAMILIES.items():
    encoder = family(size="smoke")
    assert sum(np.prod(s) for s in encoder.about.shapes().values()) < 1e6
    made = load.at_random({"a": (encoder, "")})["a"]
    assert made.digest == DIGESTS[name]
    # What it was called once, where no published network is.
    if "tiny" not in family.sizes:
      assert family(size="tiny").about.settings == encoder.about.settings


def test_a_family_is_its_own_file_and_a_line_of_the_zoo():
  quoted = re.compile(r"""["'](\w+)["']""")
  own = {
    n: f.network.__module__.rpartition(".")[2] for n, f in FAMILIES.items()
  }
  files = [p for d in ("asd_jax", "scripts") for p in (ROOT / d).rglob("*.py")]
  assert len(files) > 100
  # Pre-trainings are named after what they make.
  known = FAMILIES.keys() - {p.stem for p in (ROOT / "configs").glob("*.py")}
  assert len(FAMILIES) - len(known) == 3
  for path in files:
    for name in set(quoted.findall(path.read_text())) & known:
      assert path.stem == own[name], f"{path} knows {name}"
  table = (ROOT / "asd_jax/encoders/zoo.py").read_text()
  table = table[table.index("FAMILIES:") : table.index("# The stage")]
  lines = re.findall(r"^    (\w+\.\w+),$", table, re.MULTILINE)
  assert len(lines) == len(FAMILIES)


# A family that is in no table.

SPEC = dict(name="tests.encoders.tenth_family:FAMILY", size="smoke")


def official_tenth():
  rng = np.random.default_rng(0)
  shapes = {"cls": (1, 4), "embed.weight": (4, 8), "embed.bias": (4,)}
  for i in range(2):
    shapes |= {f"layers.{i}.weight": (4, 4), f"layers.{i}.bias": (4,)}
  return {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}


def test_a_config_names_a_family_of_ones_own():
  fn, floats = stages.resolve("encoder", SPEC, stages.TABLES["encoder"])
  encoder = fn()
  assert floats == {}
  assert encoder.about.family is sys.modules[tenth_family.__name__].FAMILY
  assert encoder.about.layers == ("layer_0", "layer_1", "layer_2", "output")
  x = np.ones((2, 7, 4), np.float32)
  params = encoder.init(jax.random.key(0))
  tokens = encoder.apply(params, x, ("layer_1",))["layer_1"]
  assert tokens.grid.shape == (2, 3, 1, 4)
  assert tokens.cls.shape == (2, 4)
  with pytest.raises(errors.InputError, match=r"\['smoke'\]"):
    tenth_family.FAMILY(size="large")
  with pytest.raises(errors.InputError, match="found remat, expected none"):
    tenth_family.FAMILY(size="smoke", remat=True)


def test_weights_of_a_family_of_ones_own(tmp_path):
  tensors, family = official_tenth(), tenth_family.FAMILY
  file = tmp_path / "tenth.safetensors"
  save_file(tensors, file)
  encoder = family(size="smoke")
  read = lambda path: load.from_files({"a": (encoder, str(path))}, folder=path)
  found = read(file)["a"]
  kernel = found.params["layer_1"]["kernel"]
  np.testing.assert_array_equal(kernel, tensors["layers.1.weight"].T)
  out = convert.convert(file, family, tmp_path / "out")
  assert read(out)["a"].digest == found.digest
  kept = load.keep(tmp_path / "kept", found)
  again = load.read_kept(tmp_path / "kept", kept.name, encoder)
  assert again.digest == found.digest


def test_unknown_families_are_told_what_there_is():
  with pytest.raises(errors.InputError, match="found the family 'mine'") as e:
    zoo.find("mine")
  for name in FAMILIES:
    assert name in str(e.value)
  assert zoo.title_of("sslam") == "SSLAM"
  assert zoo.title_of("mine") == "mine"
