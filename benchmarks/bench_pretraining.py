"""Pre-training: what a step at full size needs, and what its mixtures take.

Run: python benchmarks/bench_pretraining.py FOLDER [--config=na_beats]
  [--batch=160] [--size=base] [--precision=bfloat16] [--remat]
  [--mixtures_only] [--analysis_only] [--run]

FOLDER gets synthetic sounds. The step is compiled at full size and analysed:
memory by kind, operations as XLA counts them, products by their shapes. With
--run it is carried out a few times (random weights, a bank of a few rooms),
which wants an accelerator. Mixtures of such a batch are timed by themselves on
any device; rooms too.
"""

import argparse
import importlib
import json

import jax
import jax.numpy as jnp
from measure import best_of

from asd_jax.data import synthetic_sounds
from asd_jax.engine import distil, distil_config
from asd_jax.training import products
from asd_jax.training.program import Program

ROOMS = 16
KINDS = ("argument", "output", "alias", "temp")


def opened(args):
  """The pre-training of a config, on synthetic sounds of eleven seconds."""
  synthetic_sounds.write(args.folder, num_sounds=24, seconds=11.0)
  module = importlib.import_module(f"configs.{args.config}")
  config = module.get_config("").to_dict()
  config["student"]["remat"] = args.remat
  config["encoder"]["size"] = args.size
  config["rooms"] |= dict(num=ROOMS, num_valid=1)
  config |= dict(
    target=f"{args.folder}/target",
    noises=(f"{args.folder}/noise",),
    holdout="0.4",
    random_weights=True,
    batch_size=args.batch,
    accumulate=args.accumulate,
    precision=args.precision,
    num_steps=100_000,
  )
  return distil.Pretraining(distil_config.prepared(config))


def tell(**facts):
  """Prints a JSON line."""
  print(json.dumps(facts))


def mixtures(found, job, num):
  """Times rooms and mixtures by themselves."""
  cells, numbers = jnp.asarray(found.cells), jnp.arange(ROOMS)
  rooms = jax.jit(lambda n, c: found.rooms("train", n, c))
  simulate = lambda: jax.block_until_ready(rooms(numbers, cells))
  bank = simulate()
  seconds, busy = best_of(simulate, 2)
  tell(what="rooms", seconds_each=seconds / ROOMS, cpu_seconds=busy / ROOMS)
  batch = job.batch_at(0, slice(0, num))
  frozen = {"rooms": {"train": bank}}
  mix = jax.jit(lambda batch: found.plan(0).sounds(frozen, batch))
  seconds, busy = best_of(lambda: jax.block_until_ready(mix(batch)), 2)
  tell(what="mixtures", num=num, seconds=seconds, cpu_seconds=busy)
  hear = jax.jit(jax.vmap(found.plan(0).hear))
  waves = jnp.stack(mix(batch), axis=1)
  seconds, busy = best_of(lambda: jax.block_until_ready(hear(waves)), 2)
  tell(what="front end", num=num, seconds=seconds, cpu_seconds=busy)


def analysed(job, args):
  """Compiles a step and tells what it needs."""
  each = products.of_step(job, jax.random.key(0)) / args.batch
  tell(what="products", gflop_a_clip=each / 1e9)
  program = Program(job, jax.random.key(0), sharded=False)
  batch = job.batch_at(0, slice(0, args.batch))
  step = program.compiled(batch)
  memory = step.memory_analysis()
  sizes = {k: getattr(memory, f"{k}_size_in_bytes") / 1e9 for k in KINDS}
  flops = (step.cost_analysis() or {}).get("flops", float("nan"))
  tell(
    what="step",
    device=jax.devices()[0].device_kind,
    batch=args.batch,
    gigabytes=sizes,
    tflop_by_xla=flops / 1e12,
    tflop_of_products=each * args.batch / 1e12,
  )
  if not args.run:
    return
  state, frozen = program.start()
  batch = jax.device_put(batch)
  stop = program.flag(up=False)

  def once():
    nonlocal state
    state, metrics = step(state, frozen, batch, stop)
    jax.block_until_ready(metrics)

  seconds, busy = best_of(once)
  rate = products.rate(args.precision)
  tell(
    what="run",
    seconds=seconds,
    cpu_seconds=busy,
    clips_a_second=args.batch / seconds,
    product_share=each * args.batch / seconds / rate,
    product_rate_tflops=rate / 1e12,
  )


def main():
  """Reads the command line and runs."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("folder")
  parser.add_argument("--config", default="na_beats")
  parser.add_argument("--batch", type=int, default=160)
  parser.add_argument("--accumulate", type=int, default=1)
  parser.add_argument("--size", default="base")
  parser.add_argument("--precision", default="bfloat16")
  for flag in ("--remat", "--mixtures_only", "--analysis_only", "--run"):
    parser.add_argument(flag, action="store_true")
  args = parser.parse_args()
  found = opened(args)
  with found.job(0) as job:
    if not args.analysis_only:
      mixtures(found, job, args.batch)
    if not args.mixtures_only:
      analysed(job, args)


if __name__ == "__main__":
  main()
