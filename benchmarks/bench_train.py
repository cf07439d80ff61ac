"""Steps of adapting a full encoder: ours, its products alone, and PyTorch.

Run: python benchmarks/bench_train.py [--networks=eat_base,beats_base]
  [--trains=lora,full] [--peers=PYTHON] [--repeats=2] [--small]

A step takes 8 clips of 10 s from waveforms to changed weights: front end,
encoder, attentive statistics with a projection, ArcFace of 42 classes, AdamW;
float32, LoRA of rank 64 on q, k and v, or all weights. The PyTorch side
(`bench_train_torch.py`, by `--peers`, an interpreter with torch) is the same in
eager mode, from bands on. Each side is a process of its own, alternated; the
least counts. Printed: clips a second, processor time, the share of the rate
that the bare products of a block reach in the same process, and memory.
"""

import argparse
import json
import os
import sys

import bench_encoders
import measure
import numpy as np

NUM_CLASSES, RANK, TARGETS = 42, 64, ("q", "k", "v")
FRONTENDS = {
  "eat": dict(num_samples=bench_encoders.SAMPLES, num_frames=1008),
  "beats": dict(num_samples=bench_encoders.SAMPLES),
}


def flop_of(name, trains):
  """Operations of the products of a step, a clip.

  The gradients of a product are two more like it, one of which a weight that
  is not trained does without; the products of attention have no weights.
  """
  s, length = bench_encoders.settings_of(name), bench_encoders.num_tokens(name)
  whole = bench_encoders.flop_of(name)
  attention = 4.0 * s["depth"] * length**2 * s["width"]
  pairs = 0.0
  if trains == "lora":
    pairs = 12.0 * s["depth"] * len(TARGETS) * length * s["width"] * RANK
  times = 3.0 if trains == "full" else 2.0
  return times * (whole - attention) + 3.0 * attention + pairs


def plan_of(name, trains, remat, dtype):
  """The step of a recipe, and its optimiser."""
  from asd_jax.encoders import heads
  from asd_jax.engine import adapt_step
  from asd_jax.frontends import kaldi
  from asd_jax.training import criteria, lora, optimiser

  family, size = bench_encoders.family_of(name)
  front = getattr(kaldi, f"{family.name}_fbank")(**FRONTENDS[family.name])
  rule = (
    lora.TRAINS["full"]()
    if trains == "full"
    else lora.TRAINS["lora"](rank=RANK, alpha=8.0, targets=TARGETS)
  )
  term = adapt_step.Term("class", criteria.arcface(), NUM_CLASSES)
  return adapt_step.Plan(
    encoder=family(size=size, dtype=dtype, remat=remat),
    layer="output",
    trains=rule,
    clean=lambda wave: wave,
    hear=lambda wave: front.apply({}, wave),
    head=heads.HEADS["attentive_projection"](),
    terms=(term,),
    changes=(),
    mixstyle=None,
    optimiser=optimiser.make(dict(learning_rate=1e-5), 10_000),
    num_steps=10_000,
  )


def train_side(name, trains, batch, remat=False, dtype="float32"):
  """A step, and the bare products before and after."""
  import jax

  from asd_jax.engine import adapt_step

  plan = plan_of(name, trains, remat, dtype)
  parts = adapt_step.make(plan)
  params = bench_encoders.make_params(plan.encoder)
  state, frozen = jax.jit(parts.init)(jax.random.key(0), params)
  del params
  rng = np.random.default_rng(0)
  shape = (batch, 1, bench_encoders.SAMPLES)
  wave = 0.1 * rng.standard_normal(shape, np.float32)
  labels = rng.integers(0, NUM_CLASSES, (batch, 1)).astype(np.int32)
  data = jax.device_put({"wave": wave, "labels": labels})
  rows = batch * bench_encoders.num_tokens(name)
  bare = lambda: bench_encoders.product_rates(name, rows, dtype)
  before = bare()
  step = jax.jit(parts.step, donate_argnums=0)

  def once():
    nonlocal state
    state, metrics = step(state, frozen, data)
    jax.block_until_ready(metrics)

  out = measure.best_of(once, 2)
  rates = np.maximum(before, bare())
  flop = batch * flop_of(name, trains)
  measure.report(
    *out,
    flop,
    num=batch,
    trained=sum(x.size for x in jax.tree.leaves(state.params)),
    share=flop / out[0] / 1e9 / rates[0],
    share_by_cpu_seconds=flop / max(out[1], 1e-9) / 1e9 / rates[1],
    most_mib=measure.resident(),
    device=jax.devices()[0].device_kind,
  )


def command(settings, python=None):
  """Command line of a side; `python` is that of the PyTorch side."""
  here = os.path.abspath(__file__)
  if python:
    here = here.replace("train.py", "train_torch.py")
  return [python or sys.executable, here, json.dumps(settings)]


def sides_of(name, trains, options):
  """Commands of the sides of a network."""
  ours = dict(name=name, trains=trains, batch=options.batch)
  ours |= dict(remat=options.remat, dtype=options.dtype)
  sides = {"jax": command(ours)}
  if options.peers:
    theirs = bench_encoders.peer_of(name, options.batch, options.dtype)
    theirs |= dict(trains=trains, flop=flop_of(name, trains))
    theirs |= dict(num_classes=NUM_CLASSES, rank=RANK)
    sides["torch"] = command(theirs, options.peers)
  return sides


def main(arguments):
  """Runs the sides of all networks, and prints the comparisons."""
  if arguments and arguments[0].startswith("{"):
    return train_side(**json.loads(arguments[0]))
  import paired

  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--networks", default="eat_base,beats_base")
  parser.add_argument("--trains", default="lora,full")
  parser.add_argument("--peers", default="", help="interpreter with torch")
  parser.add_argument("--repeats", type=int, default=2)
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--remat", action="store_true")
  parser.add_argument("--small", action="store_true", help="tiny networks")
  options = parser.parse_args(arguments)
  for name in options.networks.split(","):
    size = f"{name.rsplit('_', 1)[0]}_smoke" if options.small else name
    for trains in options.trains.split(","):
      sides = sides_of(size, trains, options)
      best = paired.compare(sides, repeats=options.repeats)
      bench_encoders.show(f"{size}, {trains}", best)
  return None


if __name__ == "__main__":
  main(sys.argv[1:])
