"""What the sides of `bench_encoders.py` share; needs NumPy at most."""

import json
import resource
import time


def best_of(once, repeats=3):
  """Least seconds of a few calls after one that does not count.

  Args:
    once: waits for its result.
    repeats: calls.

  Returns:
    Seconds, and seconds of processor time, of the quickest call.
  """
  once()
  best = (float("inf"), 0.0)
  for _ in range(repeats):
    start, busy = time.perf_counter(), time.process_time()
    once()
    busy = time.process_time() - busy
    best = min(best, (time.perf_counter() - start, busy))
  return best


def resident():
  """Largest resident size so far, MiB."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(seconds, busy, flop=0.0, *, num=1, **more):
  """Prints the JSON line of one side.

  Args:
    seconds: of one call.
    busy: its processor time.
    flop: operations of its products.
    num: clips or queries in it.
    **more: other fields.
  """
  line = {
    "seconds": seconds,
    "a_second": num / seconds,
    "cpu_seconds": busy,
    "gflops": flop / seconds / 1e9,
    "gflop_a_cpu_second": flop / max(busy, 1e-9) / 1e9,
  }
  print(json.dumps(line | more))


def ludo_rows(num_source, num_target, width, num_queries):
  """Training residuals, sources first, and queries, float32."""
  import numpy as np

  rng = np.random.default_rng(0)
  draw = lambda num: rng.standard_normal((num, width), np.float32)
  return draw(num_source + num_target), draw(num_queries)


def ludo_bank(num_source, num_target, width, num_queries, num_chosen):
  """A bank with all mixed rows, prototypes (any rows), and queries."""
  import numpy as np

  rows, query = ludo_rows(num_source, num_target, width, num_queries)
  source, target = rows[:num_source], rows[num_source:]
  mixed = np.float32(0.9) * target[:, None] + np.float32(0.1) * source[None]
  bank = np.concatenate([rows, mixed.reshape(-1, width)])
  return bank, rows[:num_chosen].copy(), query
