"""Room responses: ours against pyroomacoustics, time a room.

Run: python benchmarks/bench_rooms.py [--peer_python=PYTHON]

Both sides simulate the same rooms (ten responses each, two microphones times
five sources) with the same geometry, reflection order and length, each in a
process of its own on two threads. The processes alternate; each reports its
fastest pass over all rooms, after a warm-up, and the minimum of five processes
counts. `PYTHON` is an interpreter that has pyroomacoustics 0.10.1.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROUNDS = 5
PASSES = 3
TARGET = 3.0
# Samples of a response, about what the peer makes of these rooms.
LENGTH = 10_900
# Name: air absorption, high-pass, randomised images.
VARIANTS = {
  "plain": (False, False, False),
  "air + high-pass": (True, True, False),
  "air + high-pass + displaced": (True, True, True),
}
FIELDS = ("dims", "absorption", "max_order", "target", "near", "far", "noise")


def make_rooms(path, num):
  """Writes the geometry of `num` rooms, drawn as the report says."""
  import jax

  from asd_jax.ops import geometry

  u = np.random.default_rng(0).random((num, 10), np.float32)
  rooms = jax.vmap(geometry.from_uniform)(u)
  fields = (*FIELDS, "rt60", "snr_db")
  np.savez(path, **{name: np.asarray(getattr(rooms, name)) for name in fields})


def fastest(simulate):
  """Seconds of the fastest of `PASSES` calls, after a first one."""
  start = time.perf_counter()
  result = simulate()
  first = time.perf_counter() - start
  times = []
  for _ in range(PASSES):
    start = time.perf_counter()
    result = simulate()
    times.append(time.perf_counter() - start)
  return min(times), first, result


def run_ours(rooms, variant, length, output):
  """Simulates with asd_jax: one jitted call for all rooms."""
  import jax

  from asd_jax.ops import geometry, room

  air, highpass, displaced = VARIANTS[variant]
  batch = geometry.Room(
    **{name: jax.numpy.asarray(rooms[name]) for name in rooms}
  )
  cells = room.lattice(int(rooms["max_order"].max()))

  def one(key, place, cells):
    move = room.displace(key, cells) if displaced else None
    return room.responses(
      place,
      cells,
      displacement=move,
      length=length,
      air=air,
      highpass=highpass,
    )

  # On a CPU one room at a time stays in the cache; a GPU wants them all.
  on_cpu = jax.default_backend() == "cpu"
  if on_cpu:
    every = lambda keys, batch, cells: jax.lax.map(
      lambda x: one(*x, cells), (keys, batch)
    )
  else:
    every = jax.vmap(one, in_axes=(0, 0, None))
  keys = jax.random.split(jax.random.key(0), len(rooms["rt60"]))
  compiled = jax.jit(every).lower(keys, batch, cells).compile()
  simulate = lambda: jax.block_until_ready(compiled(keys, batch, cells))
  seconds, first, result = fastest(simulate)
  np.save(output, np.asarray(result[0]))
  cost = compiled.cost_analysis() or {}
  return dict(
    seconds=seconds,
    first=first,
    device=jax.devices()[0].device_kind,
    gflop=cost.get("flops", 0.0) / 1e9,
  )


def run_peer(rooms, variant, output):
  """Simulates with pyroomacoustics."""
  import pyroomacoustics as pra

  air, highpass, displaced = VARIANTS[variant]
  pra.constants.set("rir_hpf_enable", highpass)
  pra.constants.set("num_threads", 2)

  def one(i):
    place = pra.ShoeBox(
      rooms["dims"][i].astype(float),
      fs=16_000,
      materials=pra.Material(float(rooms["absorption"][i])),
      max_order=int(rooms["max_order"][i]),
      air_absorption=air,
      use_rand_ism=displaced,
      max_rand_disp=0.08,
    )
    for source in [rooms["target"][i], *rooms["noise"][i]]:
      place.add_source(source.astype(float))
    mics = np.stack([rooms["near"][i], rooms["far"][i]], 1).astype(float)
    place.add_microphone_array(mics)
    place.compute_rir()
    return place.rir

  seconds, first, result = fastest(
    lambda: [one(i) for i in range(len(rooms["rt60"]))]
  )
  length = max(len(h) for rirs in result for mic in rirs for h in mic)
  fitted = [[np.pad(h, (0, length - len(h))) for h in mic] for mic in result[0]]
  np.save(output, np.array(fitted, np.float32))
  return dict(seconds=seconds, first=first, length=length)


def start(python, side, folder, variant, length):
  """Runs one side in a process of its own."""
  command = [python, __file__, "--side", side, "--folder", str(folder)]
  command += ["--variant", variant, "--length", str(length)]
  env = {**os.environ, "OMP_NUM_THREADS": "2"}
  done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE)
  return json.loads(done.stdout.splitlines()[-1])


def compare(variant, folder, peer_python, num):
  """Alternates both sides and prints the times of a variant."""
  ours, peer = [], []
  length = 0
  for _ in range(ROUNDS):
    peer.append(start(peer_python, "peer", folder, variant, 0))
    length = max(length, peer[-1]["length"])
    ours.append(start(sys.executable, "ours", folder, variant, length))
  here = min(run["seconds"] for run in ours) / num
  there = min(run["seconds"] for run in peer) / num
  first = min(run["first"] for run in ours)
  differ = ""
  if not VARIANTS[variant][2]:  # each side draws its own displacements
    a, b = (np.load(folder / f"{side}.npy") for side in ("ours", "peer"))
    error = np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)
    differ = f", differ by {error.max():.1e}"
  print(
    f"{variant} ({length} samples): ours {1e3 * here:.1f} ms a room on "
    f"{ours[0]['device']} ({ours[0]['gflop'] / num / here:.1f} GFLOP/s; first "
    f"call {first:.2f} s for {num}), peer {1e3 * there:.1f} ms, ratio "
    f"{there / here:.1f} (target {TARGET:g}){differ}",
    flush=True,
  )


def main():
  """Runs the benchmark, or one side of it in its own process."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--peer_python", default=sys.executable)
  parser.add_argument("--num_rooms", type=int, default=4)
  parser.add_argument("--ours", action="store_true", help="without the peer")
  parser.add_argument("--side", help=argparse.SUPPRESS)
  parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
  parser.add_argument("--variant", help=argparse.SUPPRESS)
  parser.add_argument("--length", type=int, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.side:
    rooms = dict(np.load(args.folder / "rooms.npz"))
    output = args.folder / f"{args.side}.npy"
    if args.side == "ours":
      result = run_ours(rooms, args.variant, args.length, output)
    else:
      result = run_peer(rooms, args.variant, output)
    print(json.dumps(result))
    return
  with tempfile.TemporaryDirectory() as folder:
    make_rooms(Path(folder) / "rooms.npz", args.num_rooms)
    if args.ours:
      print(json.dumps(start(sys.executable, "ours", folder, "plain", LENGTH)))
      return
    for variant in VARIANTS:
      compare(variant, Path(folder), args.peer_python, args.num_rooms)


if __name__ == "__main__":
  main()
