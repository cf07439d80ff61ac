"""Reads files one by one, each in a fresh child process with little memory.

Run: python hostile_child.py FOLDER SPARE_BYTES FILE [FILE ...]
Prints one JSON object a line: what became of each file.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

from asd_jax.weights import read as weights_file


def memory():
  sizes = Path("/proc/self/statm").read_text().split()
  return int(sizes[0]) * resource.getpagesize()


def attempt(path, spare):
  modules = set(sys.modules)
  limit = memory() + spare
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  start = time.monotonic()
  try:
    weights = weights_file.read(path)
    end = {"error": "", "tensors": len(weights.tensors)}
  except BaseException as e:  # noqa: BLE001
    end = {"error": type(e).__name__, "message": str(e)}
  end["seconds"] = time.monotonic() - start
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  end["bytes"] = 1024 * (after - peak)
  end["imported"] = sorted(set(sys.modules) - modules)
  return end


def main(folder, spare, *paths):
  # Loaded once, before any file: not blamed on the first.
  np.lib.stride_tricks.as_strided(np.zeros(1), (1,), (8,))
  for i, path in enumerate(paths):
    inside = Path(folder) / str(i) / "a" / "b" / "c" / "d"
    inside.mkdir(parents=True)
    receive, send = os.pipe()
    child = os.fork()
    if not child:
      os.chdir(inside)
      end = attempt(path, int(spare))
      os.write(send, json.dumps(end).encode())
      os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
      text = pipe.read()
    status = os.waitpid(child, 0)[1]
    end = json.loads(text) if text else {"error": "died"}
    line = json.dumps({"path": path, "status": status, **end})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
  main(*sys.argv[1:])
