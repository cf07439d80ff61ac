"""Training of the official autoencoder: ten seeds at once against PyTorch.

Run: python benchmarks/bench_baseline.py [--torch-python=PYTHON]

The PyTorch side is the same network, batches and Adam in eager mode, seed
after seed, as the official baseline runs it. Both train on `CLIPS` clips of
309 windows. Printed: windows a second, GFLOP/s of both, their ratio, and the
share of JAX's own matrix-product rate on the same products.
"""

import json
import sys
import time

CLIPS, FRAMES, BATCH = 20, 313, 256
WIDTHS = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)


def flops_of_window():
  """Products of forward, weight gradient and input gradient."""
  pairs = list(zip(WIDTHS[:-1], WIDTHS[1:], strict=True))
  return 6 * sum(a * b for a, b in pairs) - 2 * pairs[0][0] * pairs[0][1]


def report(seconds, num_windows, **more):
  """Prints the JSON line of one side."""
  rate = num_windows / seconds
  line = {"seconds": seconds / num_windows, "windows_per_second": rate}
  line["gflops"] = rate * flops_of_window() / 1e9
  print(json.dumps({**line, **more}))


def jax_side(num_seeds):
  """Trains with the package's own trainer; the best epoch counts."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from asd_jax.encoders import autoencoder
  from asd_jax.training import reconstruction, windows

  encoder = autoencoder.autoencoder()
  network = reconstruction.Network(
    encoder.init, encoder.loss, encoder.reconstruct
  )
  rng = np.random.default_rng(0)
  clips = rng.normal(-30, 10, (CLIPS, FRAMES, 128)).astype(np.float32)
  data = windows.from_clips(clips, np.arange(CLIPS) == 0, num_context=5)
  fit = reconstruction.trainer(network, reconstruction.Recipe(num_epochs=6))
  keys = jax.vmap(jax.random.key)(jnp.arange(num_seeds))
  stamps = []
  fit(keys, data, on_epoch=lambda u, m: stamps.append(time.perf_counter()))
  seconds = min(np.diff(stamps)[:-1])
  trained = int(0.9 * len(data.start)) * num_seeds
  report(
    seconds,
    trained,
    matmul_gflops=matmul_rate(num_seeds),
    device=jax.devices()[0].device_kind,
  )


def matmul_rate(num_seeds):
  """GFLOP/s of the step's matrix products alone, on this device."""
  import jax
  import jax.numpy as jnp

  pairs = list(zip(WIDTHS[:-1], WIDTHS[1:], strict=True))
  key = jax.random.key(0)
  draw = lambda *shape: jax.random.normal(key, (num_seeds, *shape))
  weights = [draw(a, b) for a, b in pairs]
  inputs = [draw(BATCH, a) for a, _ in pairs]
  outputs = [draw(BATCH, b) for _, b in pairs]

  @jax.jit
  def products(weights, inputs, outputs):
    forward = [x @ w for x, w in zip(inputs, weights, strict=True)]
    turn = lambda a: jnp.swapaxes(a, 1, 2)
    grads = [turn(x) @ g for x, g in zip(inputs, outputs, strict=True)]
    back = [
      g @ turn(w) for g, w in list(zip(outputs, weights, strict=True))[1:]
    ]
    return forward, grads, back

  jax.block_until_ready(products(weights, inputs, outputs))
  best = float("inf")
  for _ in range(20):
    start = time.perf_counter()
    jax.block_until_ready(products(weights, inputs, outputs))
    best = min(best, time.perf_counter() - start)
  return num_seeds * BATCH * flops_of_window() / best / 1e9


def torch_side():
  """Trains the same network eagerly; the best epoch counts."""
  import numpy as np
  import torch
  from torch import nn

  torch.manual_seed(0)
  layers = []
  for i, (a, b) in enumerate(zip(WIDTHS[:-1], WIDTHS[1:], strict=True)):
    layers.append(nn.Linear(a, b))
    if i < len(WIDTHS) - 2:
      layers += [nn.BatchNorm1d(b, momentum=0.01, eps=1e-3), nn.ReLU()]
  net = nn.Sequential(*layers)
  tx = torch.optim.Adam(net.parameters(), lr=1e-3)
  rng = np.random.default_rng(0)
  num = int(0.9 * CLIPS * (FRAMES - 4))
  x = torch.tensor(rng.normal(-30, 10, (num, 640)).astype(np.float32))
  best = float("inf")
  for _ in range(5):
    order = torch.randperm(num)
    start = time.perf_counter()
    for rows in order.split(BATCH):
      batch = x[rows]
      tx.zero_grad()
      loss = ((net(batch) - batch) ** 2).mean(1).mean()
      loss.backward()
      tx.step()
      loss.item()
    best = min(best, time.perf_counter() - start)
  report(best, num, threads=torch.get_num_threads())


def main(arguments):
  """Runs both sides, alternated, and prints the comparison."""
  if arguments and arguments[0].startswith("side="):
    side = arguments[0].removeprefix("side=")
    return torch_side() if side == "torch" else jax_side(int(side))
  import paired

  torch_python = sys.executable
  for argument in arguments:
    if argument.startswith("--torch-python="):
      torch_python = argument.split("=", 1)[1]
  sides = {
    "jax, 10 seeds": [sys.executable, __file__, "side=10"],
    "torch eager": [torch_python, __file__, "side=torch"],
    "jax, 1 seed": [sys.executable, __file__, "side=1"],
  }
  best = paired.compare(sides)
  for name, line in best.items():
    print(
      f"{name}: {line['windows_per_second']:,.0f} windows/s,"
      f" {line['gflops']:.1f} GFLOP/s",
      {k: v for k, v in line.items() if k in ("matmul_gflops", "threads")},
    )
  ten, torch = best["jax, 10 seeds"], best["torch eager"]
  print(f"ratio to PyTorch: {torch['seconds'] / ten['seconds']:.2f}")
  print(f"share of products: {ten['gflops'] / ten['matmul_gflops']:.2f}")
  return None


if __name__ == "__main__":
  main(sys.argv[1:])
