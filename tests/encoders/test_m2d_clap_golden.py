"""M2D-CLAP against the published code, every intermediate."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from asd_jax import errors
from asd_jax.encoders import convert, family, load, m2d_clap
from asd_jax.frontends import htk_mel
from asd_jax.ops import pooling
from asd_jax.weights import rules
from tests import quick
from tests.encoders.test_dasheng_golden import formula_clips

pytestmark = pytest.mark.golden

FAMILY = m2d_clap.FAMILY
FILES = Path(__file__).parents[1] / "goldens" / "checkpoints"
TOLERANCE = 1e-4  # of the standard deviation of the reference
BANDS = 5
FRONT = htk_mel.m2d_mel()
# One program is compiled as users do.
QUICK = dict(compiler_options=quick.OPTIONS)


class Case:
  """The golden arrays and the network with their weights."""

  def __init__(self, z):
    self.z = z
    self.config = json.loads(str(z["config_json"]))
    self.params, settings = self.port({})
    model = self.config["model"]
    # Of a width and a table that are not published, no file tells these.
    self.told = settings
    self.settings = settings | {
      "num_heads": model["num_heads"],
      "num_frames": model["input_size"][1],
    }

  def arrays(self, kind="param"):
    mark = f"{kind}/"
    return {k[len(mark) :]: self.z[k] for k in self.z.files if mark in k}

  def port(self, changed):
    weights = {**self.arrays("param"), **changed}
    found = rules.official(weights, FAMILY.names, title=FAMILY.title)
    return family.port(FAMILY, found, {})

  def close(self, found, name):
    want = np.float64(self.z[name])
    gap = np.abs(found - want).max() / want.std()
    assert np.shape(found) == want.shape, name
    assert gap < TOLERANCE, (name, gap)


@pytest.fixture(scope="module")
def case(golden):
  return Case(golden("encoders/m2d_clap"))


def outputs(frontend, apply, waves, **options):
  """What `(mel [T, M])` maps clips to, `[B, ...]`, and their log-mel."""

  def one(wave):
    mel = frontend.apply({}, wave[None])[0]
    return {"logmel": mel, **apply(mel)}

  found = jax.jit(jax.vmap(one), **options)(waves)
  return jax.tree.map(np.asarray, found)


def network(case, waves, **options):
  """Every array of the network."""
  module = m2d_clap.M2dClap(**case.settings)
  apply = lambda mel: module.apply({"params": case.params}, mel)
  return outputs(FRONT, apply, waves, **options)


@pytest.fixture(scope="module")
def whole(case):
  return network(case, case.z["waveform"])


def picture(x):
  """`[B, T, M]` as the reference has it, `[B, 1, M, T]`."""
  return np.swapaxes(x, 1, 2)[:, None]


def grid(case, x):
  """Patches `[B, 1 + T * F, D]`, CLS first, as `[B, T, F, D]`."""
  return x[:, 1:].reshape(len(x), -1, BANDS, case.settings["width"])


def by_band(x):
  """Grid `[B, T, F, D]` in the order of the reference, `[B, F * T, D]`."""
  return np.swapaxes(x, 1, 2).reshape(len(x), -1, x.shape[-1])


def stacked(x):
  """Grid `[B, T, F, D]` to `[B, T, F * D]`."""
  return x.reshape(*x.shape[:2], -1)


def test_the_front_end(case, whole):
  case.close(picture(whole["logmel"]), "logmel")
  # Filled with zeros after the normalisation by the file's own statistics.
  case.close(picture(whole["normalised"]), "frontend")


def test_every_layer(case, whole):
  before = whole["patch_embed"]
  before = np.concatenate([before[:, :1], before], axis=1)
  case.close(by_band(grid(case, before)), "patch_embed")
  for i in range(case.settings["depth"]):
    x = whole[f"layer_{i + 1}"]
    x = np.concatenate([x[:, :1], by_band(grid(case, x))], axis=1)
    case.close(x, f"layer_{i}")
  x = whole["output"]
  case.close(x[:, 0], "cls")
  case.close(by_band(grid(case, x)), "output_flat")
  case.close(stacked(grid(case, x)), "output")
  case.close(grid(case, x).mean(2), "output_flat_time")
  case.close(stacked(grid(case, x)).mean(1), "scene")


def test_the_vectors_of_both_years(case, whole):
  case.close(whole["clap"][:, 0], "clap_audio")
  official = case.arrays("param_mlp")
  places = [r for r in FAMILY.rules if "fc" in r.path and "proj" in r.path]
  shapes = dict.fromkeys(("fc1/bias", "fc2/bias"), (case.told["width"],))
  shapes |= {p.replace("bias", "kernel"): s * 2 for p, s in shapes.items()}
  tree = rules.to_tree(
    official, places, {f"projector/{p}": s for p, s in shapes.items()}
  )
  project = m2d_clap.MlpProjector()
  one = lambda x: project.apply({"params": tree["projector"]}, x)[0]
  found = jax.jit(jax.vmap(one), **QUICK)(whole["output"][:, 1:])
  case.close(found, "clap_audio_mlp")


def test_a_chunk_that_is_no_multiple_of_a_patch(case):
  """Its positions are the first of every band, not the first of the table."""
  out = network(case, case.z["waveform_odd"], **QUICK)
  case.close(picture(out["normalised"]), "frontend_odd")
  tokens = grid(case, out["output"])
  case.close(stacked(tokens), "output_odd")
  case.close(by_band(tokens), "output_flat_odd")


def test_long_clips_go_in_chunks(case):
  out = network(case, case.z["waveform_long"], **QUICK)
  case.close(picture(out["normalised"]), "frontend_long")
  case.close(stacked(grid(case, out["output"])), "output_long")
  case.close(out["clap"][:, 0], "clap_audio_long")
  # The CLS of each chunk is one of its own: what is given is their mean.
  size, table = case.settings["num_frames"], case.z["param/pos_embed"]
  assert size < out["logmel"].shape[1]
  first = case.z["param/cls_token"][0, 0] + table[0, 0]
  np.testing.assert_allclose(out["layer_0"][0, 0], first, atol=1e-6)


def test_ten_seconds_of_every_layer(case):
  """The Residual View systems put the final norm on what leaves each block."""
  params, told = case.port({"pos_embed": case.z["param_rv/pos_embed"]})
  about = case.config["rv10"]
  settings = {
    **told,
    "num_heads": case.settings["num_heads"],
    "num_frames": about["input_size"][1],
  }
  front = htk_mel.m2d_mel(num_samples=about["samples"])
  assert front.num_frames(1) == settings["num_frames"]
  encoder = family.make(FAMILY, settings)
  names = tuple(f"normed_{i + 1}" for i in range(settings["depth"]))
  layers = (*names, "output", "clap")

  def apply(mel):
    found = encoder.apply(params, mel[None], layers)
    pooled = lambda grid: pooling.mean_time_flat(grid[0])
    return {n: (pooled(x.grid), x.cls) for n, x in found.items()}  # [1, D]

  found = outputs(front, apply, formula_clips(about), **QUICK)
  case.close(np.stack([found[n][0] for n in names]), "rv10_pooled")
  np.testing.assert_array_equal(found["output"][0], found[names[-1]][0])
  vector, cls = found["clap"]
  assert cls is None
  assert found["output"][1][:, 0].shape == vector.shape
  assert vector.shape[1] == settings["width"]


def test_bfloat16_is_near(case, whole):
  fast = family.make(FAMILY, case.settings, dtype="bfloat16")
  one = lambda x: fast.apply(case.params, x, ("output", "clap"))
  # Clips as channels, which do not see each other.
  found = jax.jit(one, **QUICK)(whole["logmel"])
  for have, want in (
    (found["output"].grid, grid(case, whole["output"])),
    (found["output"].cls, whole["output"][:, 0]),
    (found["clap"].grid[:, 0], whole["clap"]),
  ):
    gap = np.abs(np.asarray(have) - want).mean() / want.std()
    assert TOLERANCE < gap < 0.05


def test_frames_to_patches():
  num = {s: FAMILY(size=s).about.num_patches for s in FAMILY.sizes}
  # The last nine frames of a chunk are lost, a single frame is filled.
  assert [num["2025"](n)[0] for n in (1, 16, 17, 992, 1000, 1001, 1002)] == [
    *(1, 1, 2, 62, 62, 62, 63)
  ]
  assert [num["2024"](n)[0] for n in (608, 609, 1001)] == [38, 39, 63]
  assert num["2024"](1001) == (38 + 25, BANDS)
  with pytest.raises(errors.InputError, match="found 0 frames, expected 1"):
    num["2025"](0)


def test_settings_that_do_not_fit(case):
  for changed, told in (
    ({"num_frames": None}, "'num_frames': None"),
    ({"num_frames": 16}, "num_frames 16, expected 240 to 255"),
    ({"projector": "2023"}, "projector '2023', expected one of .*'2025'"),
    ({"projector": 2025}, "projector 2025, expected one of"),
  ):
    settings = {**case.settings, "num_positions": 15, "num_frames": 250}
    with pytest.raises(errors.InputError, match=told):
      family.make(FAMILY, {**settings, **changed})


def test_the_position_table_that_training_makes():
  table = m2d_clap.sincos_positions(3, 8)
  assert not table[0].any()
  rate = 10000.0 ** -(np.arange(2) / 2)
  time, band = 2 * rate, 4 * rate
  want = np.concatenate([f(a) for a in (time, band) for f in (np.sin, np.cos)])
  np.testing.assert_allclose(table[1 + 4 * 3 + 2], want, rtol=1e-6)


# Published files, in small; their weights are those of the goldens beside them.


@pytest.fixture(scope="module")
def own():
  """What the files were made of, wherever the other goldens are from."""
  with np.load(FILES.parent / "encoders" / "m2d_clap.npz") as z:
    yield Case(z)


def read(name):
  tensors, beside = convert.official(FILES / name, FAMILY)
  return tensors, beside


def test_a_file_of_2025_has_the_golden_weights(own):
  """What is not under `backbone.` is the text encoder's, or training's."""
  tensors, beside = read("m2d_clap_2025.pth")
  want = own.arrays("param")
  assert set(tensors) == set(want)
  for name, value in tensors.items():
    np.testing.assert_array_equal(value, want[name], name, strict=True)
  assert FAMILY.sizes_from(tensors, beside) == own.told


def test_a_file_of_2024_has_the_student_and_the_default_statistics(own):
  tensors, beside = read("m2d_clap_2024.pth")
  want = own.arrays("param_mlp")
  shared = own.arrays("param")
  want |= {n: v for n, v in shared.items() if "audio_proj" not in n}
  want["norm_stats"] = np.array([-7.1, 4.2], np.float32)
  assert set(tensors) == set(want)
  # Not the teacher's copy, which has the same shapes and comes first.
  for name, value in tensors.items():
    np.testing.assert_array_equal(value, want[name], name, strict=True)
  found = FAMILY.sizes_from(tensors, beside)
  assert found == {**own.told, "projector": "2024"}


def test_a_fine_tuned_file_has_no_projector(own):
  """The file here has one block, like the network that it makes."""
  tensors, beside = read("m2d_clap_finetuned.pth")
  for name, value in tensors.items():
    np.testing.assert_array_equal(value, own.arrays()[name], name)
  found = FAMILY.sizes_from(tensors, beside)
  assert found == {**own.told, "depth": 1, "projector": "none"}
  tree, _ = family.port(FAMILY, tensors, beside)
  assert "projector" not in tree
  assert FAMILY(size={**own.settings, **_known(own, found)}).about.layers == (
    *("layer_0", "layer_1", "output", "normed_1"),
  )


def _known(own, found):
  return {k: own.settings[k] if v is None else v for k, v in found.items()}


def test_a_file_of_the_wrong_year_is_named(own):
  """As a published size: the small networks stand in for the large ones."""
  years = {"2025": own.settings}
  years["2024"] = {**own.settings, "projector": "2024"}
  known = FAMILY._replace(sizes=years)
  for year, other in (("2025", "2024"), ("2024", "2025")):
    encoder = known(size=year)
    files = {y: str(FILES / f"m2d_clap_{y}.pth") for y in years}
    find = lambda y, e=encoder, f=files: load.from_files(
      {"a": (e, f[y])}, folder=FILES
    )["a"]
    assert set(find(year).params["projector"]) != set()
    with pytest.raises(
      errors.InputError,
      match=f"found M2D-CLAP {other} .*, expected {year} .*: projector {other}"
      f" for {year}",
    ):
      find(other)


def test_the_archive_may_lie_as_it_is(tmp_path, own):
  """The folder of a release, in that of the weights, or as the checkpoint."""
  sizes = {**FAMILY.sizes, "2025": own.settings}
  encoder = FAMILY._replace(sizes=sizes)(size="2025")
  (source,) = [s for s in FAMILY.sources if s.size == "2025"]
  place = tmp_path / source.files[0]
  place.parent.mkdir()
  place.symlink_to(FILES / "m2d_clap_2025.pth")
  find = lambda name: load.from_files({"a": (encoder, name)}, folder=tmp_path)
  found = find("")["a"]
  assert found.origin == str(place)
  assert find(str(place.parent))["a"].digest == found.digest
