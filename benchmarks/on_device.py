"""Runs all parts that want an accelerator, one after another, within a limit.

Run: bash benchmarks/on_device.sh OUT [--small] [--minutes=9]

Every part is a process of its own with its own limit, the most important first;
what is left when time runs out is named as not run. Figures are written after
each part. `--small` takes tiny networks and one repeat, to try it on a CPU.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
# Left for writing, and for a process to end.
_GRACE = 2.0
# Golden tests that compare device numbers; commands and files are not here.
GOLDENS = ("encoders", "backends", "frontends", "ops", "training", "scores")
ENCODERS = (
  "eat_large",
  "beats_base",
  "eat_base",
  "dasheng_base",
  "ced_base",
  "m2d_clap_2025",
  "audiomae_base",
  "audiomaepp_tiny",
  "fisher_small",
)


class Part(NamedTuple):
  """One row.

  Attributes:
    name: in the figures.
    arguments: of the interpreter.
    seconds: limit.
    peer: name of the part whose seconds this one's are compared with.
  """

  name: str
  arguments: tuple[str, ...]
  seconds: float
  peer: str = ""


def encoder_parts(small: bool) -> list[Part]:
  """Networks in bfloat16 and float32, EAT-large against PyTorch too."""
  import bench_encoders

  size = lambda name: f"{name.rsplit('_', 1)[0]}_smoke" if small else name
  batch, found = 2 if small else 64, []
  peer = bench_encoders.peer_of(size("eat_large"), batch, "bfloat16")
  torch = Part(
    "eat_large bfloat16 torch",
    ("bench_encoders_torch.py", "encoder", json.dumps(peer)),
    60,
  )
  for dtype in ("bfloat16", "float32"):
    for name in ENCODERS:
      side = dict(name=size(name), batch=batch, dtype=dtype)
      is_first = dtype == "bfloat16" and name == ENCODERS[0]
      found.append(
        Part(
          f"{name} {dtype}",
          ("bench_encoders.py", "encoder", json.dumps(side)),
          90,
          torch.name if is_first else "",
        )
      )
      if is_first:
        found.append(torch)
  return found


def parts(small: bool) -> list[Part]:
  """All parts, the most important first."""
  first, second, *others = encoder_parts(small)
  goldens = ("-m", "pytest", "-m", "golden", "-p", "no:cacheprovider")
  folders = [str(HERE.parent / "tests" / n) for n in GOLDENS]
  if small:
    folders = [f"{folders[0]}/test_eat_golden.py"]
  train = "bench_training.py"
  side = lambda network, num: Part(
    f"{network} autoencoder, {num} seeds", (train, network, f"side={num}"), 90
  )
  bank = (20_000, 20) if small else (1_000_000, 200)
  return [
    Part("rates", ("on_device.py", "--rates", *(["--small"] * small)), 60),
    first,
    second,
    Part("goldens", (*goldens, *folders), 200),
    *others,
    side("official", 10),
    side("official", 1),
    *([] if small else [side("katech", 10), side("katech", 1)]),
    Part("front end ada_sub", ("bench_frontends.py", "side=jax,ada_sub"), 60),
    Part("sweep 768", ("bench_sweep.py", "side=sweep,768"), 60),
    Part("large bank", ("bench_large_bank.py", *map(str, bank), "ours"), 90),
    Part("rooms", ("bench_rooms.py", "--ours"), 60),
  ]


def rates(small: bool) -> None:
  """Prints the device, versions and the rate of its matrix products."""
  import flax
  import jax
  import jax.numpy as jnp
  import jaxlib
  import measure

  num = 512 if small else 8192
  found: dict[str, Any] = dict(
    device=jax.devices()[0].device_kind,
    backend=jax.default_backend(),
    python=sys.version.split()[0],
    jax=jax.__version__,
    jaxlib=jaxlib.__version__,
    flax=flax.__version__,
  )
  for dtype, precision in (("bfloat16", "default"), ("float32", "highest")):
    # Random numbers: products of zeros run faster than real ones.
    x = jax.random.normal(jax.random.key(0), (num, num), dtype)
    multiply = jax.jit(lambda x, p=precision: jnp.matmul(x, x, precision=p))
    once = lambda f=multiply, x=x: jax.block_until_ready(f(x))
    found[f"{dtype}_gflops"] = 2 * num**3 / measure.best_of(once, 10)[0] / 1e9
  print(json.dumps(found))


def read(part: Part, text: str) -> dict[str, Any]:
  """Figures of a part's output: its last JSON line, or pytest's summary."""
  lines = [line for line in text.splitlines() if line.strip()]
  for line in reversed(lines):
    if line.startswith("{"):
      return json.loads(line)
  counts = {
    kind: int(num)
    for num, kind in re.findall(
      r"(\d+) (passed|failed|skipped|xfailed|errors?)", lines[-1]
    )
  }
  if "pytest" not in part.arguments or not counts:
    raise ValueError("no figures in its output")
  failed = [ln for ln in lines if ln.startswith(("FAILED", "ERROR"))]
  return counts | ({"failed_tests": failed} if failed else {})


def run(part: Part, seconds: float) -> dict[str, Any]:
  """Runs a part; what went wrong stands in its figures."""
  start = time.perf_counter()
  try:
    done = subprocess.run(
      [sys.executable, *part.arguments],
      cwd=HERE,
      capture_output=True,
      text=True,
      check=False,
      timeout=seconds,
      env={**os.environ, "OMP_NUM_THREADS": "2"},
    )
  except subprocess.TimeoutExpired as e:
    said = e.stdout or b""
    return {"not_finished_after": seconds, "said": said.decode()[-2000:]}
  wall = {"wall_seconds": round(time.perf_counter() - start, 1)}
  try:
    found = read(part, done.stdout) | wall
  except (ValueError, IndexError) as e:
    return {"failed": str(e), "said": (done.stdout + done.stderr)[-2000:]}
  # A test that fails leaves status 1 and its figures.
  return found if done.returncode == 0 else found | {"rc": done.returncode}


def ratios(every: list[Part], figures: dict[str, Any]) -> dict[str, float]:
  """Seconds of peers by ours, where both were found."""
  seconds = lambda name: figures.get(name, {}).get("seconds")
  return {
    f"{part.peer} by ours": seconds(part.peer) / seconds(part.name)
    for part in every
    if part.peer and seconds(part.name) and seconds(part.peer)
  }


def main() -> None:
  """Runs the parts and writes the figures."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", default="figures.json")
  parser.add_argument("--minutes", type=float, default=9.0)
  parser.add_argument("--small", action="store_true")
  parser.add_argument("--only", default="", help="names of parts, in part")
  parser.add_argument("--rates", action="store_true", help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.rates:
    return rates(args.small)
  end = time.monotonic() + 60 * args.minutes
  figures: dict[str, Any] = {}
  every = [p for p in parts(args.small) if args.only in p.name]
  for part in every:
    left = end - time.monotonic() - _GRACE
    if left < 2 * _GRACE:
      figures[part.name] = {"not_run": "no time left"}
    else:
      figures[part.name] = run(part, min(left, part.seconds))
    whole = figures | {"ratios": ratios(every, figures)}
    Path(args.out).write_text(json.dumps(whole, indent=1) + "\n")
    short = json.dumps(figures[part.name])
    print(f"{part.name}: {short[:400]}", flush=True)
  return None


if __name__ == "__main__":
  main()
