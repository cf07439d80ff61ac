"""Noise-aware encoders against the published code, layer by layer."""

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from asd_jax.encoders import family, noise_aware
from asd_jax.encoders import noise_aware_families as rows
from asd_jax.frontends import htk_mel, kaldi
from asd_jax.weights import rules
from tests import quick

pytestmark = pytest.mark.golden

# BEATs' filter bank is float64 here: it alone moves its tokens by 4.5e-4.
TOKENS = dict(nabeats=6e-4, naeat=1e-4, nadasheng=1e-4)
GRADIENT = dict(nabeats=2e-4, naeat=5e-5, nadasheng=5e-5)
FAMILIES = dict(
  nabeats=rows.NA_BEATS, naeat=rows.NA_EAT, nadasheng=rows.NA_DASHENG
)
FRONTENDS = dict(
  nabeats=kaldi.beats_fbank,
  naeat=lambda: kaldi.eat_fbank(multiple=32),
  nadasheng=htk_mel.dasheng_mel,
)
HEARD = ("near", "far", "clean")


class Case:
  """The golden arrays of an encoder, and ours with their weights."""

  def __init__(self, name, z):
    self.z, self.name, self.family = z, name, FAMILIES[name]
    self.config = json.loads(str(z["config_json"]))
    self.params, self.settings = self.port("param", self.family)
    self.depth = self.settings["depth"]
    front = FRONTENDS[name]()
    self.frontend = jax.vmap(lambda w: front.apply({}, w[None])[0])
    one = self.network().apply
    encoder = family.make(self.family, self.settings)

    def run(p, x):
      whole = encoder.apply(p, x, ("output",))["output"]
      return one({"params": p}, x) | {"encoder": tuple(whole)[:2]}

    self._run = jax.vmap(run, (None, 0))
    # Programs of the main clips, one for all weights, are those of users; what
    # else is compared is compiled in less time.
    self.front, self.run = jax.jit(self.frontend), jax.jit(self._run)

  @functools.cached_property
  def heard(self):
    """Front-end output of the main clips by channel."""
    z = self.z
    return {n: np.asarray(self.front(z[f"waveform_{n}"])) for n in HEARD}

  @functools.cached_property
  def pairs(self):
    return np.stack([self.heard["near"], self.heard["far"]], 1)

  def port(self, folder, known, layers=None):
    """Our parameters of the weights in a folder of the golden file."""
    base = self.config["base"]
    weights = {
      k.removeprefix(f"{folder}/"): self.z[k]
      for k in self.z.files
      if k.startswith(f"{folder}/")
    }
    if folder != "param":
      own = [k for k in self.z.files if re.match("param/(?!.*fusion_)", k)]
      weights |= {k.removeprefix("param/"): self.z[k] for k in own}
    found = rules.official(weights, known.names, title=known.title)
    beside = {
      "cfg": {**base, "model": base},
      "config": {
        k: base[k] for k in ("num_heads", "target_length") if k in base
      },
      "hyper_parameters": {"model_cfg": layers or self.config["na"]},
    }
    return family.port(known, found, beside)

  def network(self, known=None, settings=None, **more):
    return (known or self.family).network(**(settings or self.settings), **more)

  def all(self, pairs):
    """Tokens of near and far `[B, 2, L, D]` by layer."""
    return jax.device_get(self.run(self.params, pairs))

  def of_another_length(self, near, far):
    """Tokens from the waveforms, all in one program."""
    run = lambda p, *waves: self._run(
      p, jnp.stack([self.frontend(w) for w in waves], 1)
    )
    return quick.jit(run)(self.params, near, far)

  def loss(self, layers, **network):
    """What training makes small [MERL26] Sec. 2.1."""
    params = {**self.params, "layers": layers}
    net = self.network(**network)
    one = lambda x: net.apply({"params": params}, x)["output"][0]
    return self.distance(jax.vmap(one)(self.pairs))

  def distance(self, near):
    """Distance of tokens `[B, L, D]` to those of the clean channel."""
    gap = (near - self.z["teacher_output"]) ** 2
    extra = self.family.input.num_extra
    return gap[:, extra:].mean() + (gap[:, 0].mean() if extra else 0.0)

  def close(self, found, name, atol):
    want = self.z[name]
    np.testing.assert_allclose(found, want, rtol=0, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def cases(golden):
  return {n: Case(n, golden(f"encoders/{n}")) for n in FAMILIES}


@pytest.fixture(scope="module", params=list(FAMILIES))
def case(cases, request):
  return cases[request.param]


@pytest.fixture(scope="module")
def tokens(case):
  return case.all(case.pairs)


@pytest.fixture(scope="module")
def beats(cases):
  return cases["nabeats"]


def test_settings_and_trained_numbers(case):
  s, config = case.settings, case.config
  assert s["layer_heads"] == config["na"]["num_heads"]
  assert s["layer_hidden"] == config["na"]["hidden_dim"]
  layers = jax.tree.leaves(case.params["layers"])
  assert sum(x.size for x in layers) == case.z["trainable_count"]


def test_each_layer_from_golden_tokens(case):
  s = case.settings
  layers = noise_aware.Layers(
    case.depth, "cross_attention", s["layer_heads"], s["layer_hidden"]
  )
  params, every = {"params": case.params["layers"]}, range(case.depth)
  one = lambda i: jax.vmap(
    lambda near, far: layers.apply(params, i, near, far, method="one")
  )
  pairs = [[case.z[f"{n}_base_{i}"] for n in ("near", "far")] for i in every]
  found = quick.jit(lambda x: [one(i)(*x[i]) for i in every])(pairs)
  for i in every:
    case.close(found[i], f"near_na_{i}", 2e-5)


def test_the_parts_of_a_layer(case):
  if "na_attention_0" not in case.z.files:
    pytest.skip("the file has no parts of a layer")
  own = case.params["layers"]["layers_0"]
  norm = lambda name: (
    lambda x: noise_aware.RootMeanSquareNorm().apply({"params": own[name]}, x)
  )

  def parts(near, far):
    heads = case.settings["layer_heads"]
    seen = noise_aware.CrossAttention(heads).apply(
      {"params": own["attention"]}, norm("norm_q")(near), norm("norm_kv")(far)
    )
    ffn = noise_aware.SwiGlu(case.settings["layer_hidden"])
    rest = ffn.apply({"params": own["ffn"]}, norm("norm_ffn")(near + seen))
    return seen, rest

  run = quick.jit(jax.vmap(parts))
  found = run(case.z["near_base_0"], case.z["far_base_0"])
  case.close(found[0], "na_attention_0", 2e-5)
  case.close(found[1], "na_ffn_0", 2e-5)


def test_every_layer_from_the_waveform(case, tokens):
  atol = TOKENS[case.name]
  for i in range(case.depth):
    case.close(tokens[f"layer_{i + 1}"][:, 0], f"near_na_{i}", atol)
    case.close(tokens[f"layer_{i + 1}"][:, 1], f"far_base_{i}", atol)
  case.close(tokens["output"][:, 0], "output", atol)
  if "teacher_far" in case.z.files:
    case.close(tokens["output"][:, 1], "teacher_far", atol)


def test_the_encoder_takes_both_channels(case, tokens):
  grid, cls = tokens["encoder"]
  extra = case.family.input.num_extra
  rest = grid.reshape(*grid.shape[:2], -1, grid.shape[-1])
  np.testing.assert_allclose(rest, tokens["output"][:, :, extra:], atol=2e-5)
  if extra:
    case.close(cls[:, 0], "cls", TOKENS[case.name])
  else:
    assert cls is None


def test_other_lengths_and_the_near_channel_twice(case):
  atol = TOKENS[case.name]
  odd = [case.z[f"waveform_{n}_odd"] for n in ("near", "far")]
  found = case.of_another_length(*odd)["output"]
  case.close(np.asarray(found)[:, 0], "output_odd", atol)
  near = case.heard["near"]
  twice = case.all(np.stack([near, near], 1))["output"][:, 0]
  case.close(twice, "output_far_is_near", atol)


def test_the_frozen_encoder_on_the_clean_channel(case):
  clean = case.heard["clean"]
  found = case.all(np.stack([clean, clean], 1))["output"][:, 1]
  case.close(found, "teacher_output", TOKENS[case.name])


def test_fresh_layers_change_nothing(case):
  rows = np.zeros((2, case.settings["width"]), np.float32)
  *_, layers = case.network().parts()
  init = quick.jit(lambda key: layers.init(key, rows, rows)["params"])
  start = jax.device_get(init(jax.random.key(0)))
  tokens = case.run({**case.params, "layers": start}, case.pairs)["output"]
  found = case.distance(np.asarray(tokens)[:, 0])
  want = float(case.z["loss_identity_init"])
  np.testing.assert_allclose(found, want, rtol=1e-4)
  width, count = case.settings["width"], lambda x: float(np.abs(x).max())
  own = start["layers_0"]
  for name, bound in (
    ("attention/q_proj", (6 / (4 * width)) ** 0.5),
    ("ffn/gate_proj", width**-0.5),
  ):
    kernel = traverse_util.flatten_dict(own, sep="/")[f"{name}/kernel"]
    assert 0.9 * bound < count(kernel) <= bound
  assert count(own["attention"]["q_proj"]["bias"]) == 0.0
  assert count(own["ffn"]["gate_proj"]["bias"]) > 0.0


def by_official_name(case, grads):
  """Gradients of the layers by the names of the file, q, k and v stacked."""
  flat = traverse_util.flatten_dict(grads, sep="/")
  names = {}
  for name in json.loads(str(case.z["grad_norm_names"])):
    found = re.fullmatch(r"(?:encoder\.)?fusion_layers\.(\d+)\.(.*)", name)
    place = f"layers_{found[1]}/"
    stacked = re.fullmatch(r"attention\.in_proj_(weight|bias)", found[2])
    if stacked:
      leaf = "kernel" if stacked[1] == "weight" else "bias"
      parts = [flat[f"{place}attention/{n}_proj/{leaf}"].T for n in "qkv"]
      names[name] = np.concatenate(parts)
      continue
    path, _, kind = found[2].rpartition(".")
    if path.startswith("norm"):
      kind = "scale"
    leaf = {"weight": "kernel"}.get(kind, kind)
    names[name] = flat[place + path.replace(".", "/") + "/" + leaf].T
  return names


@pytest.mark.parametrize("decay", ["", "_decayed"])
def test_loss_and_gradients(case, decay):
  if f"grad_norms{decay}" not in case.z.files:
    pytest.skip("the file has no gradients of that kind")
  ratio = (
    case.config["base"]["layer_wise_gradient_decay_ratio"] if decay else 1.0
  )
  # Blocks that are computed again give the same gradients.
  network = dict(gradient_decay=ratio, remat=bool(decay))
  value = jax.value_and_grad(lambda p: case.loss(p, **network))
  # One family's as users compile them: all would take half a minute.
  jit = quick.jit if decay or case.name != "naeat" else jax.jit
  loss, grads = jax.device_get(jit(value)(case.params["layers"]))
  np.testing.assert_allclose(loss, case.z["loss"], rtol=1e-4)
  found = by_official_name(case, grads)
  for key in case.config["gradient_keys"]:
    want = case.z[f"grad{decay}/{key}"]
    gap = np.abs(found[key] - want).max() / np.abs(want).max()
    assert gap < GRADIENT[case.name], key
  norms = np.array([np.linalg.norm(x) for x in found.values()])
  want = case.z[f"grad_norms{decay}"]
  np.testing.assert_allclose(norms, want, rtol=2 * GRADIENT[case.name])


def test_a_far_channel_of_another_length(beats):
  short = beats.z["waveform_far"][:, : beats.z["waveform_far"].shape[1] // 2]
  far, net = quick.jit(beats.frontend)(short), beats.network()
  plain, again, layers = net.parts()
  base, own = beats.params["base"], {"params": beats.params["layers"]}

  def one(near, far):
    hear = lambda x: again.apply({"params": base}, x)
    step = lambda i, x, y: layers.apply(own, i, x, y, method="one")
    return noise_aware.two_streams(hear, hear, step, near, far)[0]["output"]

  found = quick.jit(jax.vmap(one))(beats.heard["near"], far)
  beats.close(found, "output_far_short", TOKENS["nabeats"])
  assert plain.depth == beats.depth


@pytest.mark.parametrize(
  ("kind", "known"), [("film", rows.FILM_BEATS), ("dbeats", rows.D_BEATS)]
)
def test_other_kinds_of_layers(beats, kind, known):
  layers = {"num_heads": 8, **beats.config[kind]}
  params, settings = beats.port(f"param_{kind}", known, layers)
  joint = known.input.joint
  x = beats.pairs if joint else beats.pairs[:, 0]
  net = beats.network(known, settings)
  one = lambda x: net.apply({"params": params}, x)
  out = np.asarray(quick.jit(jax.vmap(one))(x)["output"])
  out = out[:, 0] if joint else out
  beats.close(out, f"output_{kind}", TOKENS["nabeats"])
