"""Frozen encoders, their front end and LUDO's scores against their peers.

Run: python benchmarks/bench_encoders.py PART ... [peers=PYTHON] [repeats=5]

Parts: `encoder` (or one of its networks), `frontend`, `ludo`, `memory`,
`device`. `peers` names an interpreter with torch and torchaudio, this one if
not given.

Encoders: full size, random weights, batches of 4 clips of 10 s, one channel,
float32, from the front end's picture to the last tokens, against PyTorch eager
modules (`bench_encoders_torch.py`). Printed: clips a second, GFLOP/s, processor
time, and our share of the rate of the bare matrix products of a block's shapes
in the same process, the quicker of before and after. `memory` prints the
largest resident size of two-channel clips from waveforms to embeddings;
`device` needs an accelerator.
"""

import json
import os
import sys
import time

import measure
import numpy as np

NETWORKS = (
  *("beats_base", "eat_base", "eat_large", "dasheng_base"),
  *("ced_base", "m2d_clap_2025", "audiomae_base"),
  *("audiomaepp_tiny", "fisher_small"),
)
PARTS = ("encoder", "frontend", "ludo", "memory", "device")
BATCH, SAMPLES = 4, 160_000
LUDO = dict(num_source=990, num_target=10, width=6144, num_queries=200)
CHOSEN = 128


# What the front end of a family makes of 10 s; FISHER's bands are channels.
INPUTS = {
  "beats": (1, 998),
  "eat": (1, 1008),
  "dasheng": (1, 1001),
  "ced": (1, 1001),
  "m2d_clap": (1, 1001),
  "audiomae": (1, 1024),
  "audiomaepp": (1, 1024),
  "fisher": (2, 1000),
}


def family_of(name):
  """Family of a network, and its size."""
  from asd_jax.encoders import zoo

  # A family's name, or a size, may have the mark between them inside.
  known = [n for n in zoo.FAMILIES if name.startswith(n + "_")]
  family = max(known, key=len)
  return zoo.find(family), name[len(family) + 1 :]


def input_of(name):
  """Shape `[C, T, M]` of a clip's picture."""
  family, _ = family_of(name)
  channels, frames = INPUTS[family.name]
  return channels, frames, family.input.num_mels


def settings_of(name):
  """Sizes of a network."""
  family, size = family_of(name)
  return dict(family.sizes[size])


def num_tokens(name):
  """Tokens of a clip, those before the patches included."""
  family, size = family_of(name)
  channels, frames, _ = input_of(name)
  patches = np.prod(family(size=size).about.num_patches(frames))
  return channels * (int(patches) + family.input.num_extra)


def products_of(name):
  """Shapes `[a, b]` that a block multiplies its tokens with."""
  family, size = family_of(name)
  shapes = family(size=size).about.shapes()
  inside = [s for path, s in shapes.items() if path.startswith("blocks_0/")]
  return [s for s in inside if len(s) == 2 and min(s) > 8]


def flop_of(name):
  """Operations of the products and convolutions of a clip."""
  s, length = settings_of(name), num_tokens(name)
  family, size = family_of(name)
  shapes = family(size=size).about.shapes()
  weights = s["depth"] * sum(a * b for a, b in products_of(name))
  weights += sum(
    np.prod(shape) for path, shape in shapes.items() if "patch" in path
  )
  if name.startswith("beats"):
    width = s["width"]
    weights += width * width // s["num_groups"] * s["num_taps"]
  # Each token with all of its clip, though some networks cut clips to groups.
  attention = s["depth"] * 2 * length / input_of(name)[0] * s["width"]
  return float(2.0 * length * (weights + attention))


def peer_of(name, batch=BATCH, dtype="float32"):
  """Settings of the PyTorch side of a network."""
  family, _ = family_of(name)
  channels, *shape = input_of(name)
  return dict(
    family=family.name,
    settings=settings_of(name),
    shape=(batch * channels, *shape),
    flop=flop_of(name) / channels,
    dtype=dtype,
  )


def product_rates(name, rows, dtype):
  """GFLOP/s of a block's products of `rows` tokens, one after another.

  Returns:
    By the clock, and by processor time.
  """
  import jax
  import jax.numpy as jnp

  precision = "highest" if dtype == "float32" else "default"
  multiply = jax.jit(
    lambda x, w: jnp.matmul(x, w, precision=precision),
  )
  flop = seconds = busy = 0.0
  draw = lambda a, b: jax.random.normal(jax.random.key(a), (a, b), dtype)
  for a, b in products_of(name):
    x, w = draw(rows, a), draw(a, b)
    once = lambda x=x, w=w: jax.block_until_ready(multiply(x, w))
    found = measure.best_of(once, 5)
    seconds, busy = seconds + found[0], busy + found[1]
    flop += 2.0 * rows * a * b
  return flop / seconds / 1e9, flop / max(busy, 1e-9) / 1e9


def make_params(encoder):
  """Random parameters, made leaf by leaf so that nothing else is held."""
  import flax.traverse_util
  import jax.numpy as jnp

  rng = np.random.default_rng(0)

  def leaf(path, shape):
    if path.endswith(("scale", "weight_g", "grep_a", "var")):
      return jnp.ones(shape)
    return jnp.asarray(0.02 * rng.standard_normal(shape, np.float32))

  flat = {path: leaf(path, s) for path, s in encoder.about.shapes().items()}
  return flax.traverse_util.unflatten_dict(flat, sep="/")


def over_clips(fn):
  """`fn(params, clip)` of a batch as the engine does it (`engine/programs`)."""
  import jax

  if jax.default_backend() == "cpu":
    return lambda params, x: jax.lax.map(lambda one: fn(params, one), x)
  return jax.vmap(fn, (None, 0))


def encoder_side(name, batch=BATCH, dtype="float32"):
  """Tokens of a batch, and the bare products, before and after."""
  import jax

  family, size = family_of(name)
  encoder = family(size=size, dtype=dtype)
  params = make_params(encoder)
  rng = np.random.default_rng(1)
  shape = (batch, *input_of(name))
  picture = jax.device_put(rng.standard_normal(shape, np.float32))
  tokens = lambda p, x: encoder.apply(p, x, ("output",))["output"].grid
  embed = jax.jit(over_clips(tokens))
  bare = lambda: product_rates(name, batch * num_tokens(name), dtype)
  before = bare()
  out = measure.best_of(lambda: jax.block_until_ready(embed(params, picture)))
  after = bare()
  flop = batch * flop_of(name)
  rates = np.maximum(before, after)
  measure.report(
    *out,
    flop,
    num=batch,
    parameters=sum(x.size for x in jax.tree.leaves(params)),
    products=[before[0], after[0]],
    share=flop / out[0] / 1e9 / rates[0],
    share_by_cpu_seconds=flop / max(out[1], 1e-9) / 1e9 / rates[1],
    device=jax.devices()[0].device_kind,
  )


def frontend_side(batch):
  """The filter bank of EAT, `batch` clips at once."""
  import jax

  from asd_jax.frontends import kaldi

  front = kaldi.eat_fbank()
  rng = np.random.default_rng(0)
  shape = (batch, 1, SAMPLES)
  waves = jax.device_put(0.1 * rng.standard_normal(shape, np.float32))
  apply = jax.jit(jax.vmap(lambda wave: front.apply({}, wave)))
  once = lambda: jax.block_until_ready(apply(waves))
  measure.report(*measure.best_of(once, 20), num=batch)


def ludo_jax_side(num_chosen, **sizes):
  """Scores of all queries in one compiled batch."""
  import jax
  import jax.numpy as jnp

  from asd_jax.backends import base, knn, prototypes, rows

  emb, query = map(jnp.asarray, measure.ludo_rows(**sizes))
  is_target = jnp.arange(len(emb)) >= sizes["num_source"]
  backend = prototypes.prototypes(knn.knn(), num=num_chosen)
  bank = base.bank_of(emb, is_target, key=emb[:, ::-1])
  fit = jax.jit(lambda bank: backend.fit(rows.memmixup(bank)))
  fitted = measure.best_of(lambda: jax.block_until_ready(fit(bank)))[0]
  state = fit(bank)
  score = jax.jit(jax.vmap(backend.score, (None, 0)))
  once = lambda: jax.block_until_ready(score(state, query))
  multiply = jax.jit(lambda q, r: jnp.matmul(q, r.T, precision="highest"))
  bare = measure.best_of(lambda: jax.block_until_ready(multiply(query, emb)))
  flop = 2.0 * query.size * (len(emb) + num_chosen)
  measure.report(
    *measure.best_of(once, 10),
    flop,
    num=len(query),
    fit_seconds=fitted,
    bare_product_seconds=bare[0],
    mean=float(once().mean()),
  )


def ludo_numpy_side(**sizes):
  """Distances to a bank whose mixed rows are there, by products."""
  bank, chosen, query = measure.ludo_bank(**sizes)
  squares = lambda x: np.einsum("nd,nd->n", x, x)
  banks = [(rows, squares(rows)) for rows in (bank, chosen)]

  def once():
    own = squares(query)
    nearest = [
      (own[:, None] + square[None] - 2.0 * (query @ rows.T)).min(1)
      for rows, square in banks
    ]
    return sum(0.5 * np.sqrt(np.maximum(x, 0.0)) for x in nearest)

  flop = 2.0 * query.size * (len(bank) + len(chosen))
  mean = float(once().mean())
  measure.report(*measure.best_of(once), flop, num=len(query), mean=mean)


def memory_side(name, batch):
  """Largest resident size of embedding two-channel clips."""
  import jax
  import jax.numpy as jnp

  from asd_jax.frontends import kaldi

  family, size = family_of(name)
  encoder = family(size=size)
  front = kaldi.eat_fbank(num_samples=SAMPLES, num_frames=1024)
  params = jax.block_until_ready(make_params(encoder))
  held = measure.resident()

  def embed(params, wave):  # [C, S] -> [C, F D]
    tokens = encoder.apply(params, front.apply({}, wave), ("output",))
    grid = tokens["output"].grid
    return jnp.mean(grid, axis=1).reshape(len(grid), -1)

  run = jax.jit(over_clips(embed))
  rng = np.random.default_rng(0)
  waves = rng.standard_normal((batch, 2, SAMPLES), np.float32)
  start, busy = time.perf_counter(), time.process_time()
  np.asarray(run(params, waves))  # compiled and run once, as from a cold start
  out = time.perf_counter() - start, time.process_time() - busy
  more = dict(held_mib=held, most_mib=measure.resident())
  measure.report(*out, 2 * batch * flop_of(name), num=2 * batch, **more)


SIDES = {
  "encoder": encoder_side,
  "frontend": frontend_side,
  "ludo": ludo_jax_side,
  "ludo_numpy": ludo_numpy_side,
  "memory": memory_side,
}


def command(side, python=None, **settings):
  """Command line of a side; `python` is that of the PyTorch sides."""
  here = os.path.abspath(__file__)
  if python:
    here = here.replace("encoders.py", "encoders_torch.py")
  return [python or sys.executable, here, side, json.dumps(settings)]


def _short(value):
  """Four digits of numbers, also in lists."""
  if isinstance(value, list):
    return [_short(v) for v in value]
  return float(f"{value:.4g}") if isinstance(value, float) else value


def show(title, best, per="clips"):
  """Prints a line a side, and what it takes relative to the first."""
  print(title)
  ours = next(iter(best.values()))["seconds"]
  for side, line in best.items():
    more = {k: _short(v) for k, v in line.items() if v}
    shown = ", ".join(
      f"{k} {v}" for k, v in more.items() if k not in {"seconds", "a_second"}
    )
    print(
      f"  {side}: {line['a_second']:.3g} {per}/s, {line['seconds']:.4g} s a"
      f" call, {line['seconds'] / ours:.2f} of the first; {shown}",
      flush=True,
    )


def run_part(part, peers, compare):
  """Runs one part and prints its comparison."""
  import paired

  if part in NETWORKS:
    sides = {"jax": command("encoder", name=part)}
    peer = command("encoder", peers, **peer_of(part))
    show(part, compare(sides | {"torch": peer}))
  elif part == "frontend":
    sides = {f"jax, {n} at once": command(part, batch=n) for n in (8, 1)}
    peer = command(part, peers, num=8, samples=SAMPLES)
    best = compare(sides | {"torchaudio": peer})
    show("front end of EAT, 128 bands, a clip of 10 s", per_clip(best))
  elif part == "ludo":
    sizes = LUDO | dict(num_chosen=CHOSEN)
    sides = {"jax": command(part, **sizes)}
    sides["numpy"] = command("ludo_numpy", **sizes)
    sides["torch"] = command(part, peers, **sizes)
    show("LUDO 1 scoring, 200 queries", compare(sides), "queries")
  elif part == "memory":
    for batch in (2, 4, 8, 16):
      side = dict(name="eat_large", batch=batch)
      sides = {"jax": command(part, **side)}
      show(f"memory, {batch} clips", paired.compare(sides, repeats=1))
  else:
    run_device(compare)


def per_clip(best):
  """Seconds of a clip instead of a call."""
  return {n: b | {"seconds": 1 / b["a_second"]} for n, b in best.items()}


def run_device(compare):
  """EAT-large in bfloat16 at batch 64, by the device's own product rate."""
  import subprocess

  ask = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
  found = subprocess.run(ask, capture_output=True, text=True, check=True)
  if found.stdout.strip() == "cpu":
    print("device: no accelerator")
    return
  side = command("encoder", name="eat_large", batch=64, dtype="bfloat16")
  show("EAT-large, bfloat16, batches of 64", compare({"jax": side}))


def main(arguments):
  """Runs the sides of all parts, alternated, and prints the comparisons."""
  if arguments[1:] and arguments[1].startswith("{"):
    return SIDES[arguments[0]](**json.loads(arguments[1]))
  import paired

  settings = dict(a.split("=", 1) for a in arguments if "=" in a)
  peers = settings.get("peers", sys.executable)
  repeats = int(settings.get("repeats", 5))
  compare = lambda sides: paired.compare(sides, repeats=repeats)
  for part in [a for a in arguments if "=" not in a] or PARTS:
    for one in NETWORKS if part == "encoder" else (part,):
      run_part(one, peers, compare)
  return None


if __name__ == "__main__":
  main(sys.argv[1:])
