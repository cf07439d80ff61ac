"""Training of the autoencoders: ten seeds at once against PyTorch.

Run: python benchmarks/bench_training.py NETWORK [--torch-python=PYTHON]

NETWORK is `official` or `katech`. The PyTorch side is the same network,
batches and Adam in eager mode, seed after seed, as the originals run. Both
train on clips of 309 windows. Printed: windows a second, GFLOP/s of both,
their ratio, and the share of JAX's own matrix-product rate on the same
products.
"""

import json
import sys
import time

FRAMES, BATCH = 313, 256
HALF = ((512, 512),) * 8
# Inputs and outputs of the linear layers in order; clips that are trained on.
PRODUCTS = {
  "official": (
    *((640, 128), (128, 128), (128, 128), (128, 128), (128, 8)),
    *((8, 128), (128, 128), (128, 128), (128, 128), (128, 640)),
  ),
  "katech": (
    *((640, 512), *HALF, (512, 16)),
    *((16, 512), *HALF, (512, 640)),
  ),
}
CLIPS = {"official": 20, "katech": 5}
# What a full machine takes: clips, windows a clip, epochs, seeds.
FULL = 1000 * 309 * 100 * 10


def flops_of_window(network):
  """Products of forward, weight gradient and input gradient."""
  pairs = PRODUCTS[network]
  return 6 * sum(a * b for a, b in pairs) - 2 * pairs[0][0] * pairs[0][1]


def report(network, seconds, num_windows, **more):
  """Prints the JSON line of one side."""
  rate = num_windows / seconds
  line = {"seconds": seconds / num_windows, "windows_per_second": rate}
  line["gflops"] = rate * flops_of_window(network) / 1e9
  print(json.dumps({**line, **more}))


def jax_side(network, num_seeds):
  """Trains with the package's own trainer; the best epoch counts."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from asd_jax.encoders import autoencoder
  from asd_jax.training import reconstruction, windows

  decay = dict(weight_decay=1e-4, valid_fraction=0.0)
  encoder, more = {
    "official": (autoencoder.autoencoder(), {}),
    "katech": (autoencoder.residual_autoencoder(), decay),
  }[network]
  about = encoder.about
  parts = reconstruction.Network(encoder.init, about.loss, about.errors)
  rng = np.random.default_rng(0)
  shape = (CLIPS[network], FRAMES, 128)
  clips = rng.normal(-30, 10, shape).astype(np.float32)
  data = windows.from_clips(clips, np.arange(shape[0]) == 0, num_context=5)
  recipe = reconstruction.Recipe(num_epochs=6, **more)
  fit = reconstruction.Trainer(parts, recipe)
  keys = jax.vmap(jax.random.key)(jnp.arange(num_seeds))
  stamps = []
  fit(keys, data, on_epoch=lambda u, m: stamps.append(time.perf_counter()))
  seconds = min(np.diff(stamps)[:-1])
  trained = int((1 - recipe.valid_fraction) * len(data.start)) * num_seeds
  report(
    network,
    seconds,
    trained,
    matmul_gflops=matmul_rate(network, num_seeds),
    device=jax.devices()[0].device_kind,
  )


def matmul_rate(network, num_seeds):
  """GFLOP/s of the step's matrix products alone, on this device."""
  import jax
  import jax.numpy as jnp

  pairs = PRODUCTS[network]
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
  for _ in range(10):
    start = time.perf_counter()
    jax.block_until_ready(products(weights, inputs, outputs))
    best = min(best, time.perf_counter() - start)
  return num_seeds * BATCH * flops_of_window(network) / best / 1e9


def torch_official():
  """The official network as PyTorch modules."""
  from torch import nn

  layers = []
  pairs = PRODUCTS["official"]
  for i, (a, b) in enumerate(pairs):
    layers.append(nn.Linear(a, b))
    if i < len(pairs) - 1:
      layers += [nn.BatchNorm1d(b, momentum=0.01, eps=1e-3), nn.ReLU()]
  return nn.Sequential(*layers)


def torch_katech():
  """The network of residual blocks as PyTorch modules."""
  from torch import nn
  from torch.nn import functional

  class Block(nn.Module):
    def __init__(self):
      super().__init__()
      self.inner = nn.Sequential(
        *(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.GELU()),
        *(nn.Linear(512, 512), nn.BatchNorm1d(512)),
      )

    def forward(self, h):
      return functional.gelu(h + self.inner(h))

  def half(num_in, num_out):
    start = (nn.Linear(num_in, 512), nn.BatchNorm1d(512), nn.GELU())
    blocks = (Block() for _ in range(4))
    return nn.Sequential(*start, *blocks, nn.Linear(512, num_out))

  return nn.Sequential(half(640, 16), half(16, 640))


def torch_side(network):
  """Trains the same network eagerly; the best epoch counts."""
  import numpy as np
  import torch

  torch.manual_seed(0)
  device = "cuda" if torch.cuda.is_available() else "cpu"
  net = {"official": torch_official, "katech": torch_katech}[network]()
  net = net.to(device)
  decay = {"official": 0.0, "katech": 1e-4}[network]
  held_out = {"official": 0.1, "katech": 0.0}[network]
  tx = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=decay)
  rng = np.random.default_rng(0)
  num = int((1 - held_out) * CLIPS[network] * (FRAMES - 4))
  x = torch.tensor(rng.normal(0, 1, (num, 640)).astype(np.float32)).to(device)
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
  report(network, best, num, threads=torch.get_num_threads())


def main(arguments):
  """Runs both sides, alternated, and prints the comparison."""
  network, *arguments = arguments or ["katech"]
  if arguments and arguments[0].startswith("side="):
    side = arguments[0].removeprefix("side=")
    if side == "torch":
      return torch_side(network)
    return jax_side(network, int(side))
  import paired

  torch_python = sys.executable
  for argument in arguments:
    if argument.startswith("--torch-python="):
      torch_python = argument.split("=", 1)[1]
  sides = {
    "jax, 10 seeds": [sys.executable, __file__, network, "side=10"],
    "torch eager": [torch_python, __file__, network, "side=torch"],
    "jax, 1 seed": [sys.executable, __file__, network, "side=1"],
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
  hours = FULL / ten["windows_per_second"] / 3600
  print(
    f"ten seeds of a full machine: {hours:.2f} h; of seven: {7 * hours:.1f}"
  )
  return None


if __name__ == "__main__":
  main(sys.argv[1:])
