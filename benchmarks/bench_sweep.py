"""A sweep of 1,000 (alpha, lambda) points against loops of single runs.

Run: python benchmarks/bench_sweep.py [768] [6144]

One machine: 1,000 training clips with 10 of the target domain, 200 test clips,
random near and far embeddings of the given widths; residual view, mixed rows,
nearest neighbour, three ranked values a point. Sides: `sweep`, all points at
once, from features to metrics; `loop`, one call a point of a warm compiled
program of the same stages (the plain way); `sklearn`, the same loop with rows
mixed in NumPy and scikit-learn's brute-force neighbours. The loops run a part
of the points; printed are seconds for 1,000, and ratios.
"""

import json
import os
import sys
import time

TRAIN, TARGET, TEST, ALPHAS, LAMBDAS = 1000, 10, 200, 40, 25
PART = {"loop": 40, "sklearn": 5}


def make_features(width):
  """Near and far embeddings that share a disturbance, with anomalies."""
  import numpy as np

  rng = np.random.default_rng(0)
  num = TRAIN + TEST
  near, far = rng.normal(size=(2, num, width)).astype(np.float32)
  noise = rng.normal(size=(num, width)).astype(np.float32)
  features = np.stack([near + noise, 0.3 * far + 1.5 * noise], axis=1)
  is_target = np.arange(num) % 100 == 0
  is_target[TRAIN:] = np.arange(TEST) % 2 == 0
  is_anomaly = np.arange(TEST) % 4 < 2
  features[is_target] += np.float32(0.2)
  features[TRAIN:][is_anomaly, 0] += 0.2 * near[:TEST][is_anomaly]
  return features, is_target, is_anomaly


def make_engine(width):
  """The sweep's engine, the clips of the machine, and their labels."""
  import jax.numpy as jnp
  import numpy as np

  from asd_jax.engine import system as system_lib
  from asd_jax.runs.sweep import axis as sweep_axis
  from asd_jax.runs.sweep import engine as sweep_engine
  from asd_jax.runs.sweep import grid as sweep_grid
  from asd_jax.runs.sweep import points as sweep_points
  from configs import common

  config = common.run("bench_sweep")
  config.branches = dict(
    one=common.branch(
      channels=(0, 1),
      view=dict(name="residual"),
      bank=dict(name="memmixup"),
    )
  )
  axes = [
    sweep_axis.parse(f"view.alpha=linspace(-0.5, 1, {ALPHAS})"),
    sweep_axis.parse(f"bank.lam=linspace(0.5, 0.98, {LAMBDAS})"),
  ]
  (structure,) = sweep_grid.structures(config.to_dict(), axes)
  features, is_target, is_anomaly = make_features(width)
  rows = lambda x: jnp.asarray(x, jnp.float32)
  normals = system_lib.Normals(
    {},
    ({"one": rows(features[:TRAIN])},),
    jnp.arange(TRAIN),
    jnp.asarray(is_target[:TRAIN]),
    {},
    num_target=int(np.sum(is_target[:TRAIN])),
  )
  clips = sweep_points.Clips(
    normals,
    ({"one": rows(features[TRAIN:])},),
    jnp.arange(TEST),
  )
  labels = jnp.asarray(is_anomaly), jnp.asarray(is_target[TRAIN:])
  return sweep_engine.Engine(structure), clips, labels


def report(seconds, values):
  """Prints the JSON line of one side; `seconds` for all points."""
  import numpy as np

  print(json.dumps({"seconds": seconds, "first": np.round(values, 6).tolist()}))


def sweep_side(width):
  """All points at once; the best pass counts."""
  import numpy as np

  engine, clips, labels = make_engine(width)
  assert engine.is_fast("one", clips)

  def once():
    engine.forget()
    chunks = engine.chunks("one", clips)
    scores = np.concatenate([engine.run("one", clips, c) for c in chunks])
    return engine.metrics({"one": scores}, *labels)

  values = once()
  best = float("inf")
  for _ in range(3):
    start = time.perf_counter()
    once()
    best = min(best, time.perf_counter() - start)
  assert set(engine.traces.values()) == {1}
  report(best, values[0])


def chosen_points(engine, num):
  """Points spread over the grid, the first one among them."""
  import numpy as np

  grid = engine.grids["one"]
  rows = np.linspace(0, grid.num - 1, num).astype(int)
  return np.stack(grid.values, axis=1)[rows]


def loop_side(width):
  """One call of a compiled program a point."""
  import jax
  import numpy as np

  from asd_jax.metrics import device

  engine, clips, labels = make_engine(width)
  system = engine.system

  @jax.jit
  def single(alpha, lam, clips):
    own = system.hypers["one"]
    own = {**own, "view": {"alpha": alpha}, "bank": {"lam": lam}}
    h = {**system.hypers, "one": own}
    state = system.fit(h, clips.normals)
    score = jax.vmap(lambda x: system.score(h, state, x))(clips.tests[0])
    return device.domain_metrics(score, *labels)

  def once(points):
    return [np.asarray(single(a, lam, clips)) for a, lam in points]

  points = chosen_points(engine, PART["loop"])
  once(points[:2])
  start = time.perf_counter()
  values = once(points)
  seconds = time.perf_counter() - start
  report(seconds * ALPHAS * LAMBDAS / len(points), values[0])


def sklearn_side(width):
  """Rows mixed in NumPy, neighbours by scikit-learn, metrics as above."""
  import jax
  import numpy as np
  from sklearn.neighbors import NearestNeighbors

  from asd_jax.metrics import device

  engine = make_engine(2)[0]
  features, is_target, is_anomaly = make_features(width)
  measure = jax.jit(device.domain_metrics)
  train_target = is_target[:TRAIN]

  def single(alpha, lam):
    emb = features[:, 0] - alpha * features[:, 1]
    train, test = emb[:TRAIN], emb[TRAIN:]
    target, source = train[train_target], train[~train_target]
    mixed = lam * target[:, None] + (1 - lam) * source[None]
    bank = np.concatenate([train, mixed.reshape(-1, width)])
    near = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(bank)
    score = near.kneighbors(test)[0][:, 0]
    return np.asarray(measure(score, is_anomaly, is_target[TRAIN:]))

  points = chosen_points(engine, PART["sklearn"])
  single(*points[-1])
  start = time.perf_counter()
  values = [single(*p) for p in points]
  seconds = time.perf_counter() - start
  report(seconds * ALPHAS * LAMBDAS / len(points), values[0])


SIDES = {"sweep": sweep_side, "loop": loop_side, "sklearn": sklearn_side}


def main(arguments):
  """Runs the sides, alternated, and prints the comparison."""
  if arguments and arguments[0].startswith("side="):
    side, width = arguments[0].removeprefix("side=").split(",")
    return SIDES[side](int(width))
  import paired

  command = lambda side: [sys.executable, os.path.abspath(__file__), side]
  for width in map(int, arguments or (768, 6144)):
    sides = {side: command(f"side={side},{width}") for side in SIDES}
    best = paired.compare(sides, repeats=3)
    sweep = best["sweep"]["seconds"]
    for side in ("loop", "sklearn"):
      found = best[side]
      print(
        f"{width} wide: sweep {sweep:.2f} s, {side} {found['seconds']:.1f} s"
        f" for {ALPHAS * LAMBDAS} points, ratio {found['seconds'] / sweep:.1f};"
        f" first point {best['sweep']['first']} and {found['first']}",
        flush=True,
      )
  return None


if __name__ == "__main__":
  main(sys.argv[1:])
