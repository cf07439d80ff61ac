"""Scoring backends against their peers and the bare matrix product.

Run: python benchmarks/bench_backends.py [peers=PYTHON] [knn] [mix] [smote]
  [covariance] [frequency] [repeats=5]

`peers` names an interpreter with faiss-cpu, scikit-learn and imbalanced-learn,
this one if not given. Without names of parts, all run. Printed for each part:
the least seconds of the runs of every side, GFLOP/s of the product they hold,
and ratios; for mixed rows also the growth of the resident size.
"""

import json
import os
import sys
import time

QUERIES = 200
PARTS = ("knn", "mix", "smote", "covariance", "frequency")


def report(seconds, flop=0.0, **more):
  """Prints the JSON line of one side."""
  speed = {"gflops": flop / seconds / 1e9}
  print(json.dumps({"seconds": seconds} | speed | more))


def best_of(once, repeats=5):
  """Least seconds of a few calls, after one that does not count."""
  once()
  best = float("inf")
  for _ in range(repeats):
    start = time.perf_counter()
    once()
    best = min(best, time.perf_counter() - start)
  return best


def resident():
  """Largest resident size so far, MiB."""
  import resource

  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def data(num, width):
  """Bank and queries, float32."""
  import numpy as np

  rng = np.random.default_rng(0)
  rows = rng.standard_normal((num, width), np.float32)
  return rows, rng.standard_normal((QUERIES, width), np.float32)


def bank_of(rows, num_target=10):
  """The package's bank; the last rows are of the target domain."""
  import jax.numpy as jnp

  from asd_jax.backends import base

  is_target = jnp.arange(len(rows)) >= len(rows) - num_target
  return base.bank_of(jnp.asarray(rows), is_target)


def run_scores(backend, bank, query):
  """Seconds and scores of one call for all queries."""
  import jax

  state = jax.block_until_ready(jax.jit(backend.fit)(bank))
  score = jax.jit(jax.vmap(backend.score, (None, 0)))
  query = jax.numpy.asarray(query)
  once = lambda: jax.block_until_ready(score(state, query))
  return best_of(once), float(once().mean())


def knn_side(side, num, width, k):
  """Neighbours of all queries."""
  num, width, k = int(num), int(width), int(k)
  rows, query = data(num, width)
  flop = 2.0 * num * width * len(query)
  if side == "jax":
    from asd_jax.backends import knn

    seconds, mean = run_scores(knn.knn(k=k), bank_of(rows), query)
    report(seconds, flop, mean=mean)
  elif side == "bare":
    bare_side(rows[None], query[:, None], flop)
  elif side == "faiss":
    import faiss

    index = faiss.IndexFlatL2(width)
    index.add(rows)
    once = lambda: index.search(query, k)[0]
    mean = float((once() ** 0.5).mean())
    report(best_of(once), flop, mean=mean)
  else:
    import sklearn.neighbors

    model = sklearn.neighbors.NearestNeighbors(
      n_neighbors=k, algorithm="brute"
    ).fit(rows)
    once = lambda: model.kneighbors(query)[0]
    report(best_of(once), flop, mean=float(once().mean()))


def bare_side(rows, query, flop):
  """Products of `[F, N, D]` rows with `[Q, F, D]` queries, nothing else."""
  import jax
  import jax.numpy as jnp

  rows, query = jnp.asarray(rows), jnp.asarray(query)
  product = jax.jit(
    lambda q, r: jnp.einsum("qfd,fnd->fqn", q, r, precision="highest")
  )
  report(best_of(lambda: jax.block_until_ready(product(query, rows))), flop)


def mix_side(side, num, width):
  """Scores with mixed rows, made or not; memory of fit and score."""
  from asd_jax.backends import knn, rows

  emb, query = data(int(num), int(width))
  bank = bank_of(emb)
  import jax

  stage = rows.memmixup if side == "implicit" else rows.memmixup_rows
  backend = knn.knn()
  jax.block_until_ready(bank.emb)
  before = resident()
  fit = jax.jit(lambda b: backend.fit(stage(b)))
  state = jax.block_until_ready(fit(bank))
  score = jax.jit(jax.vmap(backend.score, (None, 0)))
  once = lambda: jax.block_until_ready(score(state, query))
  seconds = best_of(once)
  held = sum(x.nbytes for x in jax.tree.leaves(state)) / 2**20
  memory = score.lower(state, query).compile().memory_analysis()
  report(
    seconds,
    mean=float(once().mean()),
    grown_mib=resident() - before,
    state_mib=held,
    temporary_mib=memory.temp_size_in_bytes / 2**20,
  )


def smote_side(side, num, width):
  """Synthetic target rows."""
  num, width = int(num), int(width)
  emb, _ = data(num, width)
  if side == "jax":
    import jax

    from asd_jax.backends import rows

    bank = bank_of(emb)
    make = jax.jit(lambda b: rows.smote(b).emb[num:])
    report(best_of(lambda: jax.block_until_ready(make(bank))))
    return
  import imblearn.over_sampling
  import numpy as np

  label = np.arange(num) >= num - 10
  sampler = imblearn.over_sampling.SMOTE(
    sampling_strategy=0.2, k_neighbors=2, random_state=0
  )
  report(best_of(lambda: sampler.fit_resample(emb, label)))


def covariance_side(side, num, width):
  """A Ledoit-Wolf fit, the factor included."""
  num, width = int(num), int(width)
  emb, _ = data(num, width)
  if side == "jax":
    import jax

    from asd_jax.backends import mahalanobis

    bank = bank_of(emb)
    fit = jax.jit(mahalanobis.mahalanobis().fit)
    report(best_of(lambda: jax.block_until_ready(fit(bank))))
    return
  import sklearn.covariance

  report(best_of(lambda: sklearn.covariance.LedoitWolf().fit(emb)))


def frequency_side(side, num, width, bands):
  """A bank a frequency with rescaled distances, or the bare products."""
  import numpy as np

  num, width, bands = int(num), int(width), int(bands)
  rng = np.random.default_rng(0)
  rows = rng.standard_normal((num, bands, width), np.float32)
  query = rng.standard_normal((QUERIES, bands, width), np.float32)
  flop = 2.0 * rows.size * QUERIES
  if side == "bare":
    bare_side(rows.swapaxes(0, 1).copy(), query, flop)
    return
  from asd_jax.backends import base, density, knn

  inner = density.variance_minimised()
  if side == "knn":
    inner = knn.knn(metric="half_cosine")
  seconds, mean = run_scores(base.per_frequency(inner), bank_of(rows), query)
  report(seconds, flop, mean=mean)


SIDES = {
  "knn": knn_side,
  "mix": mix_side,
  "smote": smote_side,
  "covariance": covariance_side,
  "frequency": frequency_side,
}


def cases():
  """Part, sides and settings of every comparison."""
  for num in (1000, 10_890):
    for width in (768, 6144):
      for k in (1, 4):
        yield "knn", ("jax", "bare", "faiss", "sklearn"), (num, width, k)
  for width in (768, 6144):
    yield "mix", ("implicit", "explicit"), (1000, width)
    yield "smote", ("jax", "imblearn"), (1000, width)
  yield "covariance", ("jax", "sklearn"), (1000, 768)
  yield "frequency", ("varmin", "knn", "bare"), (1000, 768, 8)


def main(arguments):
  """Runs all sides, alternated, and prints the comparisons."""
  if arguments and arguments[0].startswith("side="):
    part, *rest = arguments[0].removeprefix("side=").split(",")
    SIDES[part](*rest)
    return
  import paired

  settings = dict(a.split("=", 1) for a in arguments if "=" in a)
  peers = settings.get("peers", sys.executable)
  wanted = [a for a in arguments if "=" not in a] or PARTS
  for part, sides, numbers in cases():
    if part not in wanted:
      continue
    commands = {}
    for side in sides:
      python = peers if side in {"faiss", "sklearn", "imblearn"} else None
      setting = ",".join(map(str, (part, side, *numbers)))
      commands[side] = [
        python or sys.executable, os.path.abspath(__file__), f"side={setting}",
      ]  # fmt: skip
    best = paired.compare(commands, repeats=int(settings.get("repeats", 5)))
    ours = best[sides[0]]["seconds"]
    print(part, *numbers)
    for side, line in best.items():
      more = ", ".join(
        f"{name} {value:.4g}" for name, value in line.items()
        if name != "seconds"
      )  # fmt: skip
      print(
        f"  {side}: {1e3 * line['seconds']:.2f} ms,"
        f" {line['seconds'] / ours:.2f} of ours, {more}",
        flush=True,
      )


if __name__ == "__main__":
  main(sys.argv[1:])
