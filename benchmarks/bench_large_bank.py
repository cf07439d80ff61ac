"""Nearest rows of a large bank: time, memory and recall, against faiss flat.

Run: python benchmarks/bench_large_bank.py [rows [queries [side ...]]]

A bank of 768 floats a row lies in a file (3 GB for the default million rows, in
the folder for temporary files), which each side maps and copies. Ours is the
search of a detector (`asd_jax/ops/distance.py`). Every side has a process of
its own. Printed: the least seconds of three searches after the
first, seconds to load and compile, the largest resident size, in which pages of
the mapped file count, and the share of the exact neighbours found.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WIDTH, K = 768, 4
SIDES = ("ours", "faiss", "product")
ANONYMOUS = "RssAnon"


def write_bank(path, num):
  """Rows around a thousand centres, written part by part."""
  import numpy as np

  rng = np.random.default_rng(0)
  centres = rng.normal(size=(1000, WIDTH)).astype(np.float32)
  shape = (num, WIDTH)
  bank = np.lib.format.open_memmap(path, "w+", np.float32, shape)
  for start in range(0, num, 20_000):
    rows = bank[start : start + 20_000]
    rows[:] = centres[rng.integers(0, 1000, len(rows))]
    rows += rng.standard_normal(rows.shape, np.float32)
  bank.flush()


def read(path, num_queries):
  """The mapped bank, and queries: noisy copies of rows."""
  import numpy as np

  bank = np.load(path, mmap_mode="r")
  rng = np.random.default_rng(1)
  picked = np.sort(rng.choice(len(bank), num_queries, replace=False))
  noise = rng.standard_normal((num_queries, WIDTH), np.float32)
  return bank, bank[picked] + noise


def best_of(once, repeats=3):
  """Least seconds of a few calls."""
  best = float("inf")
  for _ in range(repeats):
    start = time.perf_counter()
    once()
    best = min(best, time.perf_counter() - start)
  return best


def megabytes():
  """Largest resident size, and what is resident now beside mapped files."""
  most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  lines = Path("/proc/self/status").read_text().splitlines()
  now = [int(line.split()[1]) for line in lines if line.startswith(ANONYMOUS)]
  return {"max_rss_mb": round(most), "anonymous_mb": round(now[0] / 1024)}


def jax_side(side, path, num_queries):
  """A detector's search; returns a call, and a function of its neighbours."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from asd_jax.ops import distance

  bank, queries = read(path, num_queries)
  kind, usable = distance.METRICS["euclidean"], jnp.ones(len(bank), bool)
  prepare = jax.jit(lambda bank: distance.prepare(bank, usable, kind))
  rows = jax.block_until_ready(prepare(bank))

  @jax.jit
  def search(queries, rows):
    if side == "product":
      return queries @ rows.emb.T

    def one(query):
      x, _ = distance.prepare_query(query, rows, kind)
      return distance.nearest(x, rows.emb, rows.squares, usable, k=K)[1]

    return jax.vmap(one)(queries)

  once = lambda: jax.block_until_ready(search(queries, rows))
  return once, np.asarray


def faiss_side(path, num_queries):
  """The same of faiss, whose bank is filled part by part."""
  import faiss

  bank, queries = read(path, num_queries)
  faiss.omp_set_num_threads(os.cpu_count() or 1)
  index = faiss.IndexFlatL2(WIDTH)
  for start in range(0, len(bank), 20_000):
    index.add(bank[start : start + 20_000])
  return lambda: index.search(queries, K), lambda found: found[1]


def side_main(side, folder, num_queries):
  """Measures one side."""
  import numpy as np

  path = f"{folder}/bank.npy"
  start = time.perf_counter()
  if side == "faiss":
    once, neighbours = faiss_side(path, num_queries)
  else:
    once, neighbours = jax_side(side, path, num_queries)
  loaded = time.perf_counter() - start
  start = time.perf_counter()
  found = once()
  first = time.perf_counter() - start
  out = {"side": side, "seconds": best_of(once)}
  out |= {"load": loaded, "first": first, **megabytes()}
  if side != "product":
    index = neighbours(found)
    exact = f"{folder}/exact.npy"
    if side == "ours":
      np.save(exact, index)
    same = index[:, :, None] == np.load(exact)[:, None]
    out["recall"] = float(same.any(2).mean())
  print(json.dumps(out))


def main(num=1_000_000, num_queries=200, *sides):
  """Every side, or those named, in a process of its own."""
  with tempfile.TemporaryDirectory() as folder:
    write_bank(f"{folder}/bank.npy", int(num))
    for side in sides or SIDES:
      # Threads that wait do not spin: this machine may be shared.
      env = {**os.environ, "OMP_WAIT_POLICY": "passive"}
      arguments = [__file__, side, folder, str(num_queries)]
      subprocess.run([sys.executable, *arguments], env=env, check=True)


if __name__ == "__main__":
  if len(sys.argv) > 1 and sys.argv[1] in SIDES:
    side_main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
  else:
    main(*sys.argv[1:])
