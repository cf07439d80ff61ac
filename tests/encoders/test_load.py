"""Weights are found, read, checked and kept; what is wrong is one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from asd_jax.encoders import beats, convert, eat, load, places
from asd_jax.encoders.zoo import FAMILIES
from asd_jax.weights import folder as weight_folder
from asd_jax.weights import hub, rules
from asd_jax.weights import read as weights_file
from tests.conftest import GOLDENS
from tests.encoders import test_family

FOLDER = GOLDENS / "checkpoints"
HOSTILE = sorted(p.name for p in (FOLDER / "hostile").iterdir())
# Two files of one network, with and without its configuration.
PAIRS = {
  "eat": ("eat.pt", "eat.safetensors"),
  "sslam": ("sslam.pt", "sslam.safetensors"),
  "beats": ("beats.pt", "beats_finetuned.pt"),
  "dasheng": ("dasheng.pt", "dasheng.safetensors"),
  "ced": ("ced.pt", "ced.safetensors"),
  "fisher": ("fisher.pt", "fisher_prefixed.safetensors"),
}
TINY = eat.FAMILY(
  size=dict(width=16, depth=2, num_heads=2, hidden=24, num_positions=32)
)


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
  """Runs in an empty folder, where no hub is at hand."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(hub, "find", lambda *_, local_only: None)
  monkeypatch.setattr(hub, "places", lambda repo: (tmp_path / "hub" / repo,))


def one(encoder, checkpoint, folder="weights"):
  return load.from_files(
    {"a": (encoder, str(checkpoint))}, folder=Path(folder)
  )["a"]


def refused(encoder, checkpoint, folder="weights"):
  with pytest.raises(ValueError, match="found") as error:
    one(encoder, checkpoint, folder)
  message = str(error.value)
  assert len(message.splitlines()) == 1
  return message


def random(encoder=TINY, **settings):
  return load.at_random({"a": (encoder, "")}, **settings)["a"]


def published_encoder(family, size):
  return FAMILIES[family](size=size)


def first_published(family):
  return published_encoder(family, FAMILIES[family].sources[0].size)


def official(name, family):
  """A golden file's encoder."""
  settings = convert.read_official(FOLDER / name, FAMILIES[family]).settings
  # Not every file tells the number of heads; then that of the config counts.
  heads = settings["num_heads"] or 1
  return published_encoder(family, {**settings, "num_heads": heads})


def of_size(encoder, size):
  """The same encoder where its settings are those of a published size."""
  known, settings = encoder.about.family, encoder.about.settings
  return known._replace(sizes={**known.sizes, size: settings})(size=size)


def same(one, other):
  jax.tree.map(
    lambda x, y: np.testing.assert_array_equal(x, y, strict=True), one, other
  )


def left(folder):
  return sorted(p for p in folder.rglob("*") if not p.is_dir())


# Official files and converted folders.


@pytest.mark.golden
@pytest.mark.parametrize("family", PAIRS)
def test_a_file_and_what_is_made_of_it_are_the_same(family, tmp_path):
  first, second = (FOLDER / name for name in PAIRS[family])
  encoder = official(first, family)
  loaded = one(encoder, first)
  paths = {p: h[n] for p, h, n in rules.leaves(loaded.params)}
  assert {p: x.shape for p, x in paths.items()} == encoder.about.shapes()
  assert all(x.dtype == np.float32 for x in paths.values())
  assert loaded.origin == str(first)
  again = one(encoder, second)
  assert again.digest == loaded.digest
  same(again.params, loaded.params)
  out = convert.convert(first, FAMILIES[family], tmp_path / "out")
  converted = one(encoder, out)
  assert converted.digest == loaded.digest
  assert converted.origin == str(out)
  same(converted.params, loaded.params)
  about = json.loads((out / "encoder.json").read_text())
  # Heads that no file tells are the config's, and count in the digest.
  if about["encoder"]["num_heads"]:
    assert about["digest"] == loaded.digest


@pytest.mark.golden
def test_a_file_of_another_copy_has_another_digest():
  encoder = official("eat.pt", "eat")
  full, half = (one(encoder, FOLDER / n) for n in ("eat.pt", "eat_fp16.pt"))
  assert full.digest != half.digest
  assert jax.tree.leaves(half.params)[0].dtype == np.float32


@pytest.mark.golden
def test_heads_that_nothing_tells_are_those_of_the_encoder():
  encoder = official("eat.pt", "eat")
  heads = encoder.about.settings["num_heads"]
  another = 1 if heads > 1 else 2
  other = eat.FAMILY(size={**encoder.about.settings, "num_heads": another})
  free, told = one(other, FOLDER / "eat.safetensors"), FOLDER / "eat.pt"
  assert free.digest != one(encoder, FOLDER / "eat.safetensors").digest
  assert f"num_heads {heads} for {another}" in refused(other, told)
  out = convert.convert(FOLDER / "eat.safetensors", eat.FAMILY, Path("out"))
  assert one(other, out).digest == free.digest
  # BEATs' weights tell their number.
  gated = official("beats.pt", "beats").about.settings
  another = 1 if gated["num_heads"] > 1 else 2
  wrong = beats.FAMILY(size={**gated, "num_heads": another})
  assert f"for {another}." in refused(wrong, FOLDER / "beats.pt")


def test_what_is_converted_from_the_hub(monkeypatch, tmp_path):
  shapes = {"time_pos_embed": (1, 4, 1, 2), "norm.weight": (4,)}
  arrays = {n: np.ones(s, np.float32) for n, s in shapes.items()}
  save_file(arrays, tmp_path / "model.safetensors")
  asked = []

  def find(repo, *, local_only):
    asked.append((repo, local_only))
    return tmp_path / "model.safetensors"

  monkeypatch.setattr(hub, "find", find)
  settings = {"depth": 1, "num_heads": None}
  port = lambda known, tensors, beside: ({"norm": dict(tensors)}, settings)
  monkeypatch.setattr(convert.family_lib, "port", port)
  for i, name in enumerate(("me/own", "hub:mispeech/dasheng-base")):
    out = convert.convert(name, FAMILIES["dasheng"], Path(f"out{i}"))
    about = weight_folder.read_about(out)
    repo = name.removeprefix("hub:")
    assert about["source"] == f"hub {repo}"
    assert asked[i] == (repo, False)


# Where weights are sought.


@pytest.mark.golden
@pytest.mark.parametrize("family", PAIRS)
@pytest.mark.parametrize("kind", ["converted", "official", "file"])
def test_weights_without_a_name_are_found(family, kind):
  name = FOLDER / PAIRS[family][0]
  size = FAMILIES[family].sources[0].size
  encoder = of_size(official(name, family), size)
  place = Path("weights") / f"{family}_{size}"
  if kind == "converted":
    convert.convert(name, FAMILIES[family], place)
  elif kind == "file":
    place.parent.mkdir()
    place = place.with_name(place.name + name.suffix)
    shutil.copy(name, place)
  else:
    place.mkdir(parents=True)
    file = places.source_of(encoder).files[0]
    # The content of the pair that its name stands for.
    both = {p.rpartition(".")[2]: FOLDER / p for p in PAIRS[family]}
    shutil.copy(both[file.rpartition(".")[2]], place / file)
  found = one(encoder, "")
  assert found.origin == str(place)
  assert found.digest == one(encoder, name).digest


@pytest.mark.golden
def test_a_telling_name_is_found_and_a_plain_one_is_not():
  encoder = of_size(official("dasheng.pt", "dasheng"), "1.2B")
  Path("weights").mkdir()
  shutil.copy(FOLDER / "dasheng.safetensors", "weights/model.safetensors")
  told = refused(encoder, "")
  assert "weights/dasheng_12b.pt" in told
  assert "weights/model.safetensors" not in told
  shutil.copy(FOLDER / "dasheng.pt", "weights/dasheng_12b.pt")
  assert one(encoder, "").origin == "weights/dasheng_12b.pt"


@pytest.mark.golden
def test_the_hubs_folder_is_looked_at_last(monkeypatch, tmp_path):
  encoder = of_size(official("sslam.pt", "sslam"), "base")
  asked = []

  def find(repo, *, local_only):
    asked.append((repo, local_only))
    return FOLDER / "sslam.safetensors"

  monkeypatch.setattr(hub, "find", find)
  found = one(encoder, "")
  assert found.origin == "hub ta012/SSLAM_pretrain"
  # Nothing is downloaded that nobody asked for.
  assert asked == [("ta012/SSLAM_pretrain", True)]
  assert one(encoder, "ta012/SSLAM_pretrain").digest == found.digest
  assert asked[1][1] is False


def test_everything_that_is_missing_is_told_at_once():
  wanted = {
    "a": (published_encoder("sslam", "base"), ""),
    "b": (published_encoder("dasheng", "0.6B"), ""),
    "again": (published_encoder("dasheng", "0.6B"), ""),
    "c": (published_encoder("beats", "base"), "gone.pt"),
    "d": (TINY, ""),
  }
  with pytest.raises(ValueError, match="weights: 4 not found") as error:
    load.from_files(wanted, folder=Path("place"))
  told = str(error.value)
  assert len(told.splitlines()) == 1
  for part in (
    "place/sslam_base,",
    "hub ta012/SSLAM_pretrain",
    "hub/ta012/SSLAM_pretrain; get it",
    "MIT (repository",
    "python scripts/convert_weights.py --encoder=dasheng"
    " --checkpoint=mispeech/dasheng-0.6B --output=place/dasheng_0.6B",
    "dasheng_06b.pt",
    "Zenodo",
    "gone.pt: found no such file",
    "EAT of no published size (16 wide, 2 blocks): found no",
    "--config.random_weights=true",
  ):
    assert part in told, part
  assert not Path("place").exists()


@pytest.mark.parametrize("name", ["weights/typo", "a/b.pt", "x", "a/b/c", ".."])
def test_a_path_that_is_not_there_is_no_hub_name(name, monkeypatch):
  def find(*_, local_only):
    raise AssertionError(f"asked the network: local_only={local_only}")

  monkeypatch.setattr(hub, "find", find)
  Path("weights").mkdir()
  refused(TINY, name)


def test_a_hub_name_of_another_family():
  told = refused(published_encoder("sslam", "base"), "mispeech/dasheng-base")
  assert "the hub name of DaSheng base, expected weights of SSLAM" in told


# What is refused.


@pytest.mark.golden
@pytest.mark.parametrize("name", HOSTILE[::7])
@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_files_are_refused(name, family, tmp_path):
  path = FOLDER / "hostile" / name
  message = refused(first_published(family), path)
  assert message.startswith(str(path))
  assert not left(tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize(
  ("name", "family", "told"),
  [
    ("eat.pt", "beats", "found EAT, SSLAM or FISHER"),
    ("beats.pt", "sslam", "found BEATs"),
    ("beats_tokenizer.pt", "beats", "a BEATs tokenizer"),
    ("dasheng.pt", "eat", "found DaSheng"),
    ("ced.safetensors", "dasheng", "a CED encoder"),
    (
      "ced.pt",
      "dasheng",
      "16 frames and 16 bands, expected 4 and 64 of",
    ),
    (
      "dasheng.pt",
      "ced",
      "4 frames and 64 bands, expected 16 and 16 of",
    ),
    ("dasheng.safetensors", "ced", "found patches of 4 frames"),
    ("ced_wrapped.pt", "ced", "found no weights for"),
    ("fisher.pt", "eat", "found a FISHER encoder"),
    ("fisher.pt", "ced", "found EAT, SSLAM or FISHER"),
    ("fisher_prefixed.safetensors", "eat", "found EAT, SSLAM or FISHER"),
    ("fisher_enum.pt", "fisher", "found no weights for"),
    ("eat.pt", "fisher", "found an EAT or SSLAM model"),
    ("sslam.safetensors", "fisher", "found an EAT or SSLAM model"),
  ],
)
def test_another_family(name, family, told):
  message = refused(first_published(family), FOLDER / name)
  assert message.startswith(f"{FOLDER / name}: found")
  assert told in message


@pytest.mark.golden
@pytest.mark.parametrize("family", PAIRS)
def test_another_size(family):
  small = official(PAIRS[family][0], family).about.settings
  width, depth = small["width"], small["depth"]
  base = first_published(family)
  size, s = FAMILIES[family].sources[0].size, base.about.settings
  told = f"({width} wide, {depth} blocks), expected {size} ({s['width']} wide,"
  told += f" {s['depth']} blocks)"
  for path in (
    FOLDER / PAIRS[family][0],
    convert.convert(FOLDER / PAIRS[family][0], FAMILIES[family], Path("out")),
  ):
    message = refused(base, path)
    assert f"{path}: found {FAMILIES[family].title} of no" in message
    assert told in message
  # Of a file that tells no heads those of the wanted network are taken.
  heads = json.loads(Path("out/encoder.json").read_text())["encoder"]
  small = {**small, "num_heads": heads["num_heads"] or s["num_heads"]}
  sizes = {**FAMILIES[family].sizes, "large": small}
  other = FAMILIES[family]._replace(sizes=sizes)(size=size)
  assert f"large {told}" in refused(other, "out")


def rewritten(path, change):
  """A copy of a safetensors file with other weights."""
  arrays = change(dict(weights_file.read(path).tensors))
  out = Path("changed.safetensors")
  save_file(arrays, out)
  return out


@pytest.mark.golden
@pytest.mark.parametrize("family", ["eat", "sslam", "dasheng"])
def test_missing_and_extra_weights(family):
  path = FOLDER / PAIRS[family][1]
  encoder = official(FOLDER / PAIRS[family][0], family)
  inner = (".mlp.", ".norm2.")  # six a block
  drop = lambda a: {n: a[n] for n in a if not any(p in n for p in inner)}
  message = refused(encoder, rewritten(path, drop))
  assert message.startswith("changed.safetensors: found no weights for ")
  assert message.split(";")[0].count(",") == 4
  assert " more; expected all" in message
  extra = {f"own.{i}": np.zeros(1, np.float32) for i in range(7)}
  message = refused(encoder, rewritten(path, lambda a: {**a, **extra}))
  assert "without a place: own.0, own.1, own.2, own.3, own.4 and 2" in message


def kept():
  """A folder of random weights."""
  return load.keep(Path("kept"), random())


def test_folders_that_are_not_converted(tmp_path):
  empty = tmp_path / "empty"
  empty.mkdir()
  assert refused(TINY, empty).startswith(f"{empty}: found a folder without")
  folder = kept()
  for text in ("", "[]", "{}", "\xff", '{"family": "eat", "encoder": 3}'):
    (folder / "encoder.json").write_text(text, encoding="latin-1")
    assert refused(TINY, folder).startswith(f"{folder}: found no encoder.json")


def test_a_folder_of_another_family():
  folder = kept()
  other = eat.SSLAM(size=TINY.about.settings)
  message = refused(other, folder)
  assert message == (f"{folder}: found EAT weights, expected those of SSLAM.")


@pytest.mark.parametrize("damage", ["cut", "gone", "changed", "other"])
def test_a_damaged_folder(damage, capfd):
  folder = kept()
  about = json.loads((folder / "encoder.json").read_text())
  assert one(TINY, folder).digest == about["digest"]
  for name in about["files"]:
    path, raw = folder / name, (folder / name).read_bytes()
    if damage == "cut":
      path.write_bytes(raw[:-1])
    elif damage == "gone":
      path.unlink()
    elif damage == "changed":
      path.write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
    else:
      path.write_bytes(raw + b"x")
    message = refused(TINY, folder)
    assert message.startswith(f"{folder}: found damaged or no {name}")
    path.write_bytes(raw)
  assert one(TINY, folder).digest == about["digest"]
  assert capfd.readouterr() == ("", "")


def test_parameters_that_are_not_those_of_the_digest():
  folder, other = kept(), random(seed=1)
  about = json.loads((folder / "encoder.json").read_text())
  swapped = Path("swapped")
  weight_folder.write(swapped, other.params, about)
  assert "another digest than in encoder.json" in refused(TINY, swapped)


def test_arrays_of_other_shapes_in_a_folder():
  wide = eat.FAMILY(size={**TINY.about.settings, "hidden": 48})
  about = {"family": "eat", "encoder": dict(TINY.about.settings)}
  weight_folder.write(Path("wide"), random(wide).params, about)
  assert "cannot be read" in refused(TINY, "wide")
  fewer = random().params
  del fewer["cls"]
  weight_folder.write(Path("fewer"), fewer, about)
  assert "cannot be read" in refused(TINY, "fewer")


# Random weights.


def tiny(name):
  shared = dict(width=16, depth=1, num_heads=2, hidden=24)
  more = {
    "eat": dict(num_positions=32),
    "sslam": dict(num_positions=32),
    "audiomae": dict(num_positions=33),
    "audiomae_finetuned": dict(num_positions=33),
    "audiomaepp": dict(gated=20, num_positions=31),
    "dasheng": dict(num_positions=6, target_frames=24),
    "m2d_clap": dict(num_positions=2, num_frames=39, projector="2025"),
    "beats": dict(embed_width=8, num_taps=4, num_groups=2)
    | dict(num_buckets=16, max_distance=20),
  }
  return published_encoder(name, shared | more[name])


@pytest.mark.slow
@pytest.mark.parametrize("family", test_family.own_networks())
def test_random_weights_are_like_fresh_ones(family):
  encoder = tiny(family)
  loaded = random(encoder)
  assert loaded.origin == "random"
  # Compiles faster than the usual bits.
  fresh = jax.jit(encoder.init)(jax.random.key(0, impl="unsafe_rbg"))

  def check(path, made, want):
    assert made.shape == want.shape
    assert made.dtype == np.float32
    name = path[-1].key
    if name in ("positions", "scale", "bias", "mean", "var"):
      return  # sines and cosines, or constants
    if want.size > 60:
      np.testing.assert_allclose(made.std(), want.std(), rtol=0.35)
      assert abs(made.mean()) < 3 * want.std() / want.size**0.5

  jax.tree_util.tree_map_with_path(check, loaded.params, fresh)
  frames = np.ones((1, 32, encoder.about.num_mels), np.float32)
  run = jax.jit(lambda p, x: encoder.apply(p, x, ("output",)))
  tokens = run(loaded.params, frames)["output"].grid
  assert np.isfinite(tokens).all()
  assert tokens.std() > 0.1


def test_random_weights_are_the_same_in_each_run():
  first, again, other = random(), random(), random(seed=1)
  assert first.digest == again.digest != other.digest
  same(first.params, again.params)
  # Numbers of a leaf do not depend on what else there is.
  deeper = random(eat.FAMILY(size={**TINY.about.settings, "depth": 3}))
  same(deeper.params["blocks_1"], first.params["blocks_1"])
  both = load.at_random({"x": (tiny("beats"), ""), "y": (TINY, "")})
  assert both["y"].digest == first.digest


# Kept weights.


def test_kept_weights_come_back():
  made = random()
  folder = load.keep(Path("kept"), made)
  assert folder == Path("kept") / made.digest
  found = load.read_kept(Path("kept"), made.digest, TINY)
  assert found.digest == made.digest
  same(found.params, made.params)
  before = [(p, p.stat().st_mtime_ns) for p in left(folder)]
  assert load.keep(Path("kept"), made) == folder
  assert before == [(p, p.stat().st_mtime_ns) for p in left(folder)]
  assert one(TINY, folder).digest == made.digest


class OnDevice:
  """A parameter that must not be copied to the host."""

  def __array__(self, *_, **__):
    raise AssertionError("copied")


def test_what_is_kept_already_is_not_copied_from_the_device():
  made = random()
  load.keep(Path("kept"), made)
  there = made._replace(read=lambda: {"cls": OnDevice()})
  assert load.keep(Path("kept"), there) == Path("kept") / made.digest
  # Nor is what another folder holds, whose files are linked.
  linked = load.keep(Path("linked"), there._replace(origin="elsewhere"))
  files = [sorted(p.stat().st_ino for p in left(f / "params")) for f in (
    linked, Path("kept") / made.digest
  )]  # fmt: skip
  assert files[0] == files[1] != []
  assert json.loads((linked / "encoder.json").read_text())["source"] == (
    "elsewhere"
  )
  found = load.read_kept(Path("linked"), made.digest, TINY)
  same(found.params, made.params)
  # Unless somebody was at that folder, or links cannot be made.
  path = left(Path("kept") / made.digest / "params")[0]
  path.touch()
  with pytest.raises(AssertionError, match="copied"):
    load.keep(Path("other"), there)


def old(folder):
  """As if the files had been there for a minute."""
  for path in left(folder):
    then = path.stat().st_mtime_ns - 60_000_000_000
    os.utime(path, ns=(then, then))


def test_weights_that_were_read_are_not_read_to_be_named(monkeypatch):
  encoder = FAMILIES["ced"](size="smoke")
  folder = load.keep(Path("kept"), random(encoder))
  reads = []
  read = weight_folder.read

  def counted(*args):
    reads.append(args)
    return read(*args)

  monkeypatch.setattr(weight_folder, "read", counted)
  young = one(encoder, folder)
  assert one(encoder, folder).digest == young.digest
  assert len(reads) == 2  # what is young may change within a tick
  old(folder)
  first = one(encoder, folder)
  assert len(reads) == 3
  second = one(encoder, folder)
  assert len(reads) == 3
  assert second[2:] == first[2:]
  assert second.size == sum(x.size for x in jax.tree.leaves(young.params))
  same(second.params, young.params)
  assert len(reads) == 4
  # What changes meanwhile is noticed when it is read.
  other = load.keep(Path("other"), random(encoder, seed=1))
  folder.rename("away")
  other.rename(folder)
  with pytest.raises(ValueError, match="changed while this run"):
    _ = second.params
  old(folder)
  assert one(encoder, folder).digest == other.name


def test_a_damaged_folder_is_written_again():
  made, folder = random(), kept()
  for damage in (lambda path: path.write_bytes(b""), Path.unlink):
    files = left(folder / "params")
    damage(max(files, key=lambda path: path.stat().st_size))
    with pytest.raises(ValueError, match="found damaged or no"):
      load.read_kept(Path("kept"), made.digest, TINY)
    assert load.keep(Path("kept"), made) == folder
    found = load.read_kept(Path("kept"), made.digest, TINY)
    assert found.digest == made.digest
    assert [p.name for p in Path("kept").iterdir()] == [made.digest]


# Waits until both are ready, so that they write at the same time.
RUN = """
import sys, time
from pathlib import Path
import orbax.checkpoint
from asd_jax.encoders import eat
from asd_jax.encoders import load
encoder = eat.FAMILY(size=eval(sys.argv[1]))
made = load.at_random({"a": (encoder, "")})["a"]
Path(f"ready{sys.argv[2]}").touch()
while len(list(Path().glob("ready*"))) < 2:
  time.sleep(0.01)
print(load.keep(Path("kept"), made))
"""


@pytest.mark.full
def test_runs_may_keep_the_same_at_once(tmp_path):
  made = random()
  # Both find a damaged folder, which is replaced once.
  (kept() / "params/_METADATA").unlink()
  runs = [
    subprocess.Popen(
      [sys.executable, "-c", RUN, repr(TINY.about.settings), str(i)],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      cwd=tmp_path,
    )
    for i in range(2)
  ]
  ends = [run.communicate() for run in runs]
  assert ends == [(f"kept/{made.digest}\n".encode(), b"")] * 2
  assert [p.name for p in Path("kept").iterdir()] == [made.digest]
  found = load.read_kept(Path("kept"), made.digest, TINY)
  same(found.params, made.params)


def test_kept_weights_that_are_not_there():
  made, folder = random(), kept()
  get = lambda digest, encoder: load.read_kept(Path("kept"), digest, encoder)
  with pytest.raises(
    ValueError, match="no kept weights, expected those of EAT"
  ):
    get("0" * 32, TINY)
  for text in ("../kept", "", "A" * 32):
    with pytest.raises(ValueError, match="expected 32 hex digits"):
      get(text, TINY)
  deeper = eat.FAMILY(size={**TINY.about.settings, "depth": 3})
  with pytest.raises(ValueError, match="depth 2 for 3"):
    get(made.digest, deeper)
  folder.rename(Path("kept") / ("1" * 32))
  with pytest.raises(ValueError, match="those of the folder's name"):
    get("1" * 32, TINY)


def test_a_folder_that_cannot_be_written():
  Path("kept").write_text("a file")
  with pytest.raises(ValueError, match="cannot be written"):
    load.keep(Path("kept"), random())
