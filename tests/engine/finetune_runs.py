"""Short trainings of `finetune.npz`, as the plans and arrays of ours.

What a run is made of is told by the arrays and settings that the file has of
it; names and places are brought together here, nothing is compared.
"""

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax.encoders import (
  audiomae,
  beats,
  eat,
  family,
  heads,
  noise_aware_families,
)
from asd_jax.engine import adapt_step
from asd_jax.frontends import kaldi
from asd_jax.training import augment, criteria, lora, optimiser
from asd_jax.weights import rules

FAMILIES = {
  "eat": eat.FAMILY,
  "beats": beats.FAMILY,
  "audiomae": audiomae.FAMILY,
  "nabeats": noise_aware_families.NA_BEATS,
}
# Name in the file, place in the trained parameters or statistics, and how
# PyTorch's order of axes becomes ours.
HEAD = (
  (r"pool\.w", "head/head/pool/dense/kernel", "linear"),
  (r"pool\.b", "head/head/pool/dense/bias", "same"),
  (r"pool\.v", "head/head/pool/score/kernel", "column"),
  (r"head\.w(\d)", r"head/head/head/dense_{}/kernel", "linear"),
  (r"head\.b(\d)", r"head/head/head/dense_{}/bias", "same"),
  (r"head\.bn\.(scale|bias)", r"head/head/head/norm/\1", "same"),
  (r"head\.bn\.(mean|var)", r"head/head/norm/\1", "same"),
  (r"pool\.w(\d)", r"head/head/pool/dense_{}/kernel", "linear"),
  (r"pool\.b(\d)", r"head/head/pool/dense_{}/bias", "same"),
  (r"pool\.bn(\d)\.(scale|bias)", r"head/head/pool/norm_{}/\2", "same"),
  (r"pool\.bn(\d)\.(mean|var)", r"head/pool/norm_{}/\2", "same"),
  (r"gate\.w", "head/head/gate/kernel", "linear"),
  (r"gate\.b", "head/head/gate/bias", "same"),
  (r"proj\.w", "head/head/proj/kernel", "linear"),
  (r"proj\.b", "head/head/proj/bias", "same"),
  (r"(arcface|attr)\.w|centres", "head/terms/0/centres", "same"),
  (r"dom\.w", "head/terms/1/centres", "same"),
)
KINDS = {**rules.TRANSFORMS, "column": lambda x: x[:, None]}


def place_of(name, known):
  """Where an array of the file is in our trees, and how it is turned."""
  for pattern, place, kind in HEAD:
    if match := re.fullmatch(pattern, name):
      number = int(match[1]) - 1 if "{}" in place else 0
      return match.expand(place.replace("{}", str(number))), kind
  if pair := re.fullmatch(r"lora/(.+?)(?:\.(q|k|v))?\.(a|b)", name):
    name, part = f"{pair[1]}.weight", pair[2]
    for pattern, own in known.names.stacked:
      if match := re.fullmatch(pattern, f"{pair[1]}_weight"):
        name, part = match.expand(own["qkv".index(part)]), None
    module, _ = place_of(name, known)
    parts = (module.removesuffix("/kernel"), part, pair[3])
    return "/".join(p for p in parts if p), "linear"
  for rule in known.rules:
    if match := re.fullmatch(rule.pattern, name):
      return "backbone/" + match.expand(rule.path), rule.kind
  raise AssertionError(f"{name} has no place")


def flat(tree):
  """Arrays by place."""
  paths = jax.tree_util.tree_flatten_with_path(tree)[0]
  word = lambda key: str(getattr(key, "key", getattr(key, "idx", key)))
  return {"/".join(map(word, path)): leaf for path, leaf in paths}


def filled(tree, values):
  """The tree with values by place; all places must be there, and no others."""
  assert flat(tree).keys() == values.keys()
  for place, leaf in flat(tree).items():
    assert leaf.shape == values[place].shape, place
  leaves = [values[place] for place in flat(tree)]
  return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def recorded():
  """Keeps the gradients that come in."""
  return optax.GradientTransformation(
    lambda params: params, lambda grads, state, params=None: (grads, grads)
  )


class Run:
  """One run of the file; arrays are float64."""

  def __init__(self, z, name):
    self.z, self.name = z, name
    self.config = c = json.loads(str(z[f"{name}/config_json"]))
    self.about = json.loads(str(z["config_json"]))
    self.family = FAMILIES[c["family"]]
    self.gated = self.has("param/gate.w")
    self.two = self.gated or self.family.input.joint
    self.names = c["trainable"]
    self.steps = c["steps"]
    self._read_encoder()
    self.plan = self._plan()
    self.parts = adapt_step.make(self.plan)
    self.params, self.extra, self.frozen = self.at("param")
    self.batches = [self.batch(i) for i in range(self.steps)]

  def has(self, name):
    return f"{self.name}/{name}" in self.z.files

  def array(self, name):
    return self.z[f"{self.name}/{name}"]

  def place(self, name):
    return place_of(name, self.family)

  def ours(self, name, values):
    """An array of the file's in our order of axes."""
    return KINDS[self.place(name)[1]](np.asarray(values))

  def _read_encoder(self):
    tensors = {n: self.array(f"param/{n}") for n in self.config["encoder_keys"]}
    found = rules.official(tensors, self.family.names, title=self.family.title)
    about = self.config["encoder"]
    beside = {"cfg": about.get("base", about), "na": about.get("na", {})}
    base, settings = family.port(self.family, found, beside)
    # What the run says, not what its width is known for.
    settings["num_heads"] = about.get("num_heads", settings["num_heads"])
    self.base = jax.tree.map(lambda x: np.asarray(x, np.float64), base)
    self.encoder = family.make(self.family, settings, dtype="float64")

  def _trains(self):
    spec = self.config["encoder"].get("lora")
    if spec is None:
      return lora.full()
    named = {"q_proj": "q", "k_proj": "k", "v_proj": "v"}
    named |= {"out_proj": "out", "proj": "out"}
    return lora.low_rank(
      rank=spec["r"],
      alpha=spec["alpha"],
      dropout=spec["dropout"],
      targets=tuple(named.get(t, t) for t in spec["targets"]),
    )

  def _hear(self):
    frames = self.config["encoder"].get("target_length")
    fronts = {
      "eat": lambda: kaldi.eat_fbank(num_frames=frames),
      "audiomae": lambda: kaldi.audiomae_fbank(num_frames=frames),
      "beats": kaldi.beats_fbank,
      "nabeats": kaldi.beats_fbank,
    }
    return functools.partial(fronts[self.config["family"]]().apply, {})

  def _head(self):
    h = self.config["head"]
    num = h["embedding"]
    if self.gated:
      rows = len(self.array("param/gate.w"))
      return heads.gated_projection(by_dimension=rows > 1, num_outputs=num)
    assert h["batch_norm"] == {"eps": 1e-5, "momentum": 0.1}
    if self.has("param/pool.v"):
      return heads.attentive_projection(
        num_attention=h["pool_hidden"], num_hidden=h["hidden"], num_outputs=num
      )
    return heads.context_projection(
      num_hidden=h["pool_hidden"], num_outputs=num
    )

  def _terms(self):
    h = self.config["head"]
    if self.has("param/centres"):
      one = criteria.subcluster_adacos(num_centres=h["subclusters"])
      return (adapt_step.Term("label", one, h["classes"]),)
    one = criteria.arcface(scale=h["scale"], margin=h["margin"])
    kinds = {"attr": "attr_classes", "dom": "dom_classes"}
    if not self.gated:
      kinds = {"label": "classes"}
    return tuple(adapt_step.Term(n, one, h[k]) for n, k in kinds.items())

  def _changes(self):
    made = []
    if self.has("batch/crop_ratio"):
      made.append(augment.temporal_crop())
    if self.has("batch/swap"):
      made += [
        augment.channel_swap(),
        augment.channel_gain(),
        augment.channel_dropout(),
      ]
    if self.has("batch/perm"):
      made.append(augment.mixup())
    return tuple(made)

  def _optimiser(self):
    spec, schedule = self.config["optimiser"], self.config["schedule"]
    assert (spec["betas"], spec["eps"]) == ([0.9, 0.999], 1e-8)
    rates = spec["lr"]
    settings = dict(
      learning_rate=rates.get("backbone", rates.get("all")),
      head_learning_rate=rates.get("head"),
      weight_decay=spec["weight_decay"],
      schedule=schedule["kind"],
      warmup=schedule["warmup_steps"],
    )
    total = schedule["total_steps"] or self.steps
    made = optimiser.make(settings, total)
    return made._replace(tx=optax.chain(recorded(), made.tx)), total

  def _plan(self):
    chain, total = self._optimiser()
    return adapt_step.Plan(
      encoder=self.encoder,
      layer="output",
      trains=self._trains(),
      clean=lambda wave: wave,
      hear=self._hear(),
      head=self._head(),
      terms=self._terms(),
      changes=self._changes(),
      mixstyle=None,
      optimiser=chain,
      num_steps=total,
    )

  def at(self, folder):
    """Parameters, statistics and frozen part at `param` or `final`."""
    key = jax.random.key(0)
    state, frozen = jax.eval_shape(self.parts.init, key, self.base)
    values = {}
    for name in self.names + self.config["buffers"]:
      value = np.asarray(self.array(f"{folder}/{name}"), np.float64)
      values[self.place(name)[0]] = self.ours(name, value)
    stats = {self.place(n)[0] for n in self.config["buffers"]}
    params = {k: v for k, v in values.items() if k not in stats}
    extra = {k: v for k, v in values.items() if k in stats}
    inside = flat(self.base)
    return (
      filled(state.params, params),
      filled(state.extra, extra),
      filled(frozen, {place: inside[place] for place in flat(frozen)}),
    )

  def wave(self, index):
    """`[B, C, S]` of clips."""
    channels = ("near", "far") if self.two else ("near",)
    picked = [self.z[f"wave/{c}"][index] for c in channels]
    return np.stack(picked, axis=1).astype(np.float64)

  def batch(self, step):
    row = lambda name: self.array(f"batch/{name}")[step]
    draws = []
    if self.has("batch/crop_ratio"):
      draws.append({"ratio": row("crop_ratio"), "start": row("crop_start")})
    if self.has("batch/swap"):
      draws += [row("swap"), row("gain_db"), row("drop")]
    if self.has("batch/perm"):
      draws.append({n: row(n) for n in ("perm", "lam", "apply")})
    labels = [row(term.name) for term in self.plan.terms]
    return {
      "wave": self.wave(row("index")),
      "labels": np.stack(labels, axis=1).astype(np.int32),
      "draws": {
        "changes": draws,
        "dropout": None,
        "mixstyle": None,
        "terms": np.zeros(len(labels)),  # no criterion here draws anything
      },
    }

  def train(self, params, extra, frozen, batches):
    """All steps: metrics, gradients and parameters of each, the last state."""
    tx = self.plan.optimiser.tx
    state = adapt_step.TrainState(
      jnp.zeros((), jnp.int32), params, extra, tx.init(params),
      jax.random.key(0),
    )  # fmt: skip

    def one(state, batch):
      new, metrics = self.parts.step(state, frozen, batch)
      grads = flat(new.opt_state[0])
      return new, (metrics, grads, flat(new.params))

    state, out = jax.lax.scan(one, state, batches)
    rates = jax.vmap(self.plan.optimiser.rates)(jnp.arange(self.steps))
    return state.params, state.extra, out, rates

  def heard(self, batch):
    """Front-end output of a training batch, augmentation included."""
    rows = adapt_step.rows_of(self.plan, batch["labels"])
    wave = adapt_step.cleaned(self.plan, batch["wave"])
    changes = batch["draws"]["changes"]
    return adapt_step.heard(self.plan, changes, wave, rows)[0]

  def encoded(self, backbone, frozen, bands):
    """Tokens `[B, C, L, D]` of the encoder in use, as the head takes them."""
    params = self.plan.trains.merge(backbone, frozen)

    def one(x):
      out = self.encoder.apply(params, x, ("output",))["output"]
      return heads.rows_of(self.plan.head, out.grid)

    return jax.vmap(one)(bands)

  def embedded(self, params, extra, h):
    """Embedding in use."""
    z, _ = self.plan.head.apply(params["head"], extra["head"], h, False)
    return self.plan.head.embed(z)

  def embedded_first(self, params, extra, h):
    """What pooling and head make in training."""
    head = params["head"]
    z, _ = self.plan.head.apply(head, extra["head"], h, True)
    spec = self.config["head"]
    if self.gated:
      gate = heads.Gate(head["gate"]["bias"].size > 1)
      both = gate.apply({"params": head["gate"]}, h[:, 0], h[:, 1])
      pooled = jnp.mean(both, axis=1)
    elif self.has("param/pool.v"):
      pool = heads.AttentiveStatistics(spec["pool_hidden"])
      pooled = pool.apply({"params": head["pool"]}, h[:, 0])
    else:
      pool = heads.ContextStatistics(spec["pool_hidden"])
      both = {"params": head["pool"], "batch_stats": extra["head"]["pool"]}
      pooled, _ = pool.apply(both, h[:, 0], train=True, mutable=["batch_stats"])
    return pooled, self.plan.head.embed(z)
