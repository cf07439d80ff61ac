"""Layers of one file in the encoder of another: read, checked, kept, shared."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from asd_jax.encoders import convert, describe, family, load, places, zoo
from asd_jax.encoders import noise_aware_files as files
from asd_jax.weights import folder as weight_folder
from asd_jax.weights import hub, rules
from tests.weights import torch_bytes

pytestmark = pytest.mark.golden

LAYER = re.compile(r"(encoder\.)?(fusion|additional)_layers\.")
NAMES = {
  "na_beats": ("nabeats", "param", "na"),
  "na_eat": ("naeat", "param", "na"),
  "na_dasheng": ("nadasheng", "param", "na"),
  "film_beats": ("nabeats", "param_film", "film"),
  "d_beats": ("nabeats", "param_dbeats", "dbeats"),
}


class Files:
  """Files of a golden network, as they are published."""

  def __init__(self, name, z):
    file, folder, kind = NAMES[name]
    self.known, self.config = (
      zoo.FAMILIES[name],
      json.loads(str(z["config_json"])),
    )
    under = lambda start: {
      k.removeprefix(f"{start}/"): z[k]
      for k in z.files
      if k.startswith(f"{start}/")
    }
    every = under("param") | under(folder)
    self.base = {n: x for n, x in under("param").items() if not LAYER.match(n)}
    self.layers = {n: x for n, x in under(folder).items() if LAYER.match(n)}
    spec = {"num_heads": 8, **self.config[kind]}
    self.model = {
      "model_id": self.known.inner.sources[0].hub or "BEATs_iter3",
      "fusion_layer_cfg": {
        "attention_cfg": {"num_heads": spec["num_heads"], "dropout": 0.1},
        "hidden_dim": spec["hidden_dim"],
      },
    }
    beside = {"hyper_parameters": {"model_cfg": self.model}} | self.beside()
    found = rules.official(
      {n: x for n, x in every.items() if n in {**self.base, **self.layers}},
      self.known.names,
      title=name,
    )
    self.tree, settings = family.port(self.known, found, beside)
    heads = self.config["base"].get("num_heads") or settings["num_heads"]
    self.encoder = self.known(size={**settings, "num_heads": heads})

  def beside(self):
    """The encoder's configuration, as files have it beside its weights."""
    base = self.config["base"]
    told = ("num_heads", "target_length")
    return {"cfg": base, "config": {k: base[k] for k in told if k in base}}

  def layers_file(self, *, more=(), model=None, beside=None):
    """A file of a training; averages and the teacher lie beside."""
    weights = {f"model.{n}": x for n, x in self.layers.items()}
    other = {n: x + 1 for n, x in weights.items()}
    return torch_bytes.save(
      Path("layers.ckpt"),
      {
        "epoch": 3,
        "state_dict": weights | dict(more),
        "hyper_parameters": {"model_cfg": {**self.model, **(model or {})}},
        "current_model_state": other,
        **(beside or {}),
      },
    )

  def base_file(self):
    """The encoder's own file: of the hub, or with a configuration."""
    if self.known.inner.name == "beats":
      return torch_bytes.save(
        Path("base.pt"), {"model": self.base, "cfg": self.config["base"]}
      )
    lead = "model." if self.known.inner.name == "eat" else "encoder."
    bare = {n.removeprefix("org_model."): x for n, x in self.base.items()}
    save_file({lead + n: x for n, x in bare.items()}, "base.safetensors")
    return Path("base.safetensors")

  def read(self, own, base=""):
    wanted = {"a": (self.encoder, places.Checkpoint(str(own), str(base)))}
    return load.from_files(wanted, folder=Path("weights"))["a"]

  def refused(self, own, base=""):
    with pytest.raises(ValueError, match="found") as error:
      self.read(own, base)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
  """Runs in an empty folder, where no hub is at hand."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(hub, "find", lambda *_, local_only: None)
  monkeypatch.setattr(hub, "places", lambda repo: (tmp_path / "hub" / repo,))


@pytest.fixture(params=list(NAMES))
def each(request, golden):
  return Files(request.param, golden(f"encoders/{NAMES[request.param][0]}"))


@pytest.fixture
def one(golden):
  return Files("na_eat", golden("encoders/naeat"))


def same(one, other):
  jax.tree.map(
    lambda x, y: np.testing.assert_array_equal(x, y, strict=True), one, other
  )


def test_two_files_make_a_network_that_is_kept_in_two_parts(each):
  own, base = each.layers_file(), each.base_file()
  found = each.read(own, base)
  same(found.params, each.tree)
  assert any(f"the encoder inside is {base}" in note for note in found.notes)
  # Its digest is that of what it is converted to, in one folder.
  convert.convert(own, each.known, Path("whole"), base=base)
  assert each.read("whole").digest == found.digest
  # Beside detectors the encoder inside has a folder of its own, which a system
  # that uses it alone has too.
  inner = files.inner_of(each.encoder)
  alone = load.from_files({"b": (inner, str(base))}, folder=Path("x"))["b"]
  assert found.base == alone.digest
  for loaded in (found, alone):
    load.keep(Path("kept"), loaded)
  assert {p.name for p in Path("kept").iterdir()} == {
    found.digest,
    found.base,
  }
  about = weight_folder.read_about(Path("kept") / found.digest)
  assert about["base"] == found.base
  again = load.read_kept(Path("kept"), found.digest, each.encoder)
  assert (again.digest, again.base) == (found.digest, found.base)
  same(again.params, found.params)
  # As a training's own folder, too: a path like any other.
  assert each.read(Path("kept") / found.digest).digest == found.digest


def test_a_file_with_both_is_compared_with_the_encoders_own(each):
  both = {f"model.{n}": x for n, x in each.base.items()}
  # Of BEATs no weight tells the longest distance.
  own = each.layers_file(more=both, beside=each.beside())
  base = each.base_file()
  same(each.read(own).params, each.tree)
  assert each.read(own, base).digest == each.read(own).digest
  name = next(n for n in both if n.endswith("norm.weight"))
  other = each.layers_file(more=both | {name: both[name] + 1})
  told = each.refused(other, base)
  assert "unlike that of" in told
  assert name.removeprefix("model.") in told or "norm" in told


def test_statistics_of_a_frozen_encoder_count_as_a_copy(golden):
  case = Files("na_dasheng", golden("encoders/nadasheng"))
  norm = "model.org_model.init_bn.1."
  names = [norm + n for n in ("running_mean", "running_var")]
  more = {n: case.base[n.removeprefix("model.")] for n in names}
  more |= {
    n.replace("model.org_model", "teacher_model.x"): x for n, x in more.items()
  }
  more[f"{norm}num_batches_tracked"] = np.zeros((), np.int64)
  base = case.base_file()
  same(case.read(case.layers_file(more=more), base).params, case.tree)
  more[names[0]] = more[names[0]] + 1
  told = case.refused(case.layers_file(more=more), base)
  assert "init_bn.1.running_mean unlike" in told


@pytest.mark.parametrize(
  ("model", "told"),
  [
    (dict(model_id="BEATs_iter3_plus_AS2M"), "layers of 'BEATs_iter3_plus"),
    (dict(base={"hub_id": "me/EAT-large"}, model_id=3), "of 'me/EAT-large'"),
    (dict(fusion_layer_cfg={"hidden_dim_multiplier": 5}), "hidden size 200"),
    (dict(fusion_layer_cfg={"num_heads": 4}), "layer_heads 4 for 8"),
    (dict(fusion_layer_cfg={"num_heads": "x"}), "num_heads='x'"),
    (dict(fusion_layer_cfg={"num_heads": 7}), "7 heads of the"),
    (
      dict(fusion_layer_cfg={"hidden_dim_multiplier": float("inf")})
      | dict(model_id="other"),
      "layers of 'other'",
    ),
  ],
)
def test_what_a_file_says_of_its_layers_must_fit(one, model, told):
  base = one.base_file()
  assert told in one.refused(one.layers_file(model=model), base)


def test_layers_of_a_published_width_have_the_published_heads(one):
  size = dict(one.known.sizes["base"])
  says = lambda **layer: {"hyper_parameters": {"model_cfg": layer}}
  shapes = {
    "fusion_layers.11.norm_ffn.weight": (768,),
    "fusion_layers.0.ffn.gate_proj.bias": (2304,),
  } | {f"fusion_layers.{i}.norm_q.weight": (768,) for i in range(11)}
  tensors = {n: np.zeros(s, np.float32) for n, s in shapes.items()}
  found = one.known.sizes_from(tensors, says(num_heads=8))
  assert {k: found[k] for k in files.TOLD} == {k: size[k] for k in files.TOLD}
  with pytest.raises(ValueError, match="found 12 as heads of .* expected 8"):
    files.port(one.known, tensors, says(num_heads=12), None)
  tensors["fusion_layers.0.ffn.gate_proj.bias"] = np.zeros(3072, np.float32)
  with pytest.raises(ValueError, match="found 3072 as hidden size .* 2304"):
    files.port(one.known, tensors, {}, None)


def test_layers_of_another_encoder_are_refused(one, golden):
  other = Files("na_beats", golden("encoders/nabeats"))
  base, theirs = one.base_file(), other.layers_file()
  told = one.refused(theirs, base)
  assert "found the layers of another noise-aware encoder" in told
  names = [n for n in one.layers if n.startswith("fusion_layers.2.")]
  for name in names:
    del one.layers[name]
  assert "depth 2 for 3" in one.refused(one.layers_file(model={}), base)


def test_what_is_missing_is_told_with_its_place(one):
  own = one.layers_file()
  # A network of no published size has no place of its own to look at.
  assert "EAT of no published size" in one.refused(own)
  known = one.known
  inner = known.inner._replace(sizes={**known.inner.sizes, "base": {
    k: one.encoder.about.settings[k] for k in known.inner.sizes["base"]
  }})  # fmt: skip
  sizes = {**known.sizes, "base": one.encoder.about.settings}
  one.encoder = known._replace(sizes=sizes, inner=inner)(size="base")
  told = one.refused(own)
  assert "EAT-base (model.safetensors): looked at weights/eat_base" in told
  seed = "dcase2026_naeat_seed1.ckpt"
  told = one.refused(seed, one.base_file())
  assert f"NA-EAT ({seed}): looked at weights/dcase2026_naeat_seed1," in told
  assert "--encoder=na_eat --checkpoint=FILE --base=FILE" in told
  # In the folder of weights, each by its name.
  Path("weights").mkdir()
  own.rename(Path("weights") / seed)
  one.base_file().rename("weights/eat_base.safetensors")
  found = one.read(seed)
  same(found.params, one.tree)
  assert found.origin == f"weights/{seed}"


def test_a_description_says_what_the_layers_need(each):
  lines = describe.describe(each.layers_file())
  fits = [n for n in lines if f"has all layers of {each.known.title} (" in n]
  assert len(fits) == 1
  assert f"{each.known.inner.title} are another file, --base=FILE" in fits[0]
  with pytest.raises(ValueError, match="found the layers alone") as error:
    convert.convert("layers.ckpt", each.known, Path("out"))
  assert len(str(error.value).splitlines()) == 1
  assert not Path("out").exists()


def test_only_noise_aware_encoders_have_one_inside(one):
  with pytest.raises(ValueError, match="only noise-aware encoders have one"):
    convert.convert("x.pt", one.known.inner, Path("out"), base="y.pt")


def test_random_layers_stand_in_the_random_encoder():
  encoder = zoo.FAMILIES["na_eat"](size="smoke")
  inner = files.inner_of(encoder)
  drawn = load.at_random({"a": (encoder, ""), "b": (inner, "")})
  assert drawn["a"].base == drawn["b"].digest


def test_what_could_not_be_compared_is_a_note(one):
  own, base = one.layers_file(), one.base_file()
  told = lambda found: [n for n in found.notes if "no plain model_cfg" in n]
  assert not told(one.read(own, base))
  own = one.layers_file(beside={"hyper_parameters": {"model_cfg": "object"}})
  assert len(told(one.read(own, base))) == 1


def test_a_folder_of_layers_that_was_moved_takes_the_encoder_it_was_made_in(
  one,
):
  own, base = one.layers_file(), one.base_file()
  found = one.read(own, base)
  moved = Path("moved") / "mine"
  moved.parent.mkdir()
  load.keep(Path("kept"), found).rename(moved)
  assert one.read(moved, base).digest == found.digest
  # Without a name it is sought like the encoder alone.
  assert "EAT of no published size" in one.refused(moved)
  norm = "org_model.pre_norm.weight"
  one.base[norm] = one.base[norm] + 1
  told = one.refused(moved, one.base_file())
  assert f"expected {found.base}, in which the layers of mine" in told
