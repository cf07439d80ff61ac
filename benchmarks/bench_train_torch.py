"""The PyTorch side of `bench_train.py`; needs torch, and no JAX.

Run by it: python benchmarks/bench_train_torch.py JSON

The networks are those of `bench_encoders_torch.py` in training mode, with plain
layers for the head and the loss, in eager mode.
"""

import json
import math
import sys

import bench_encoders_torch
import measure
import torch
from torch import nn
from torch.nn import functional

DEVICE = bench_encoders_torch.DEVICE


class Lora(nn.Module):
  """A layer that stays as it is, and pairs beside equal parts of its output."""

  def __init__(self, layer, rank, num_parts):
    super().__init__()
    self.layer, width = layer, layer.in_features
    part = layer.out_features // num_parts
    pair = lambda: nn.ParameterList(
      [nn.Parameter(0.02 * torch.randn(rank, width))]
      + [nn.Parameter(torch.zeros(part, rank))]
    )
    self.pairs = nn.ModuleList([pair() for _ in range(num_parts)])
    self.scale = 8.0 / rank

  def forward(self, x):
    """Maps `[..., D]` to `[..., out]`."""
    added = [
      functional.linear(functional.linear(x, a), b) for a, b in self.pairs
    ]
    return self.layer(x) + self.scale * torch.cat(added, -1)


def add_pairs(network, rank):
  """Freezes a network but for pairs beside queries, keys and values."""
  network.requires_grad_(False)
  for block in network.blocks:
    for name, num in (("qkv", 3), ("q_proj", 1), ("k_proj", 1), ("v_proj", 1)):
      if hasattr(block.attention, name):
        layer = getattr(block.attention, name)
        setattr(block.attention, name, Lora(layer, rank, num))


class Classifier(nn.Module):
  """Attentive statistics, a projection and ArcFace."""

  def __init__(self, network, width, num_classes):
    super().__init__()
    self.network = network
    layers = nn.Linear(width, 128), nn.Tanh(), nn.Linear(128, 1, bias=False)
    self.weigh = nn.Sequential(*layers)
    layers = nn.Linear(2 * width, 512), nn.BatchNorm1d(512), nn.ReLU()
    self.project = nn.Sequential(*layers, nn.Linear(512, 256))
    self.centres = nn.Parameter(torch.randn(num_classes, 256))

  def forward(self, picture, label):
    """Loss of `[B, T, M]` and classes `[B]`."""
    h = self.network(picture)
    weight = torch.softmax(self.weigh(h), 1)
    mean = (weight * h).sum(1)
    square = (weight * h.square()).sum(1) - mean.square()
    pooled = torch.cat([mean, square.clamp(min=1e-4).sqrt()], -1)
    x = functional.normalize(self.project(pooled))
    cos = x @ functional.normalize(self.centres).T
    cos = cos.clamp(-1 + 1e-7, 1 - 1e-7)
    margin = 0.2 * functional.one_hot(label, cos.shape[1])
    return functional.cross_entropy(
      30.0 * torch.cos(torch.acos(cos) + margin), label
    )


def train_side(
  family, settings, shape, flop, trains, num_classes, rank, dtype="float32"
):
  """A step of AdamW; products in float32 are not rounded to TF32."""
  torch.manual_seed(0)
  network = bench_encoders_torch.NETWORKS[family](settings)
  if trains == "lora":
    add_pairs(network, rank)
  model = Classifier(network, settings["width"], num_classes).train().to(DEVICE)
  learned = [p for p in model.parameters() if p.requires_grad]
  optimiser = torch.optim.AdamW(learned, lr=1e-5)
  picture = torch.randn(*shape).to(DEVICE)
  label = torch.randint(0, num_classes, shape[:1]).to(DEVICE)
  low = dtype != "float32"  # weights stay in float32, as on the other side

  def once():
    optimiser.zero_grad()
    with torch.autocast(DEVICE, getattr(torch, dtype), enabled=low):
      loss = model(picture, label)
    loss.backward()
    optimiser.step()
    if DEVICE == "cuda":  # calls return before the device is done
      torch.cuda.synchronize()
    if not math.isfinite(loss.item()):
      sys.exit("the loss is not a number")

  measure.report(
    *measure.best_of(once, 2),
    flop * shape[0],
    num=shape[0],
    trained=sum(p.numel() for p in learned),
    most_mib=measure.resident(),
  )


if __name__ == "__main__":
  train_side(**json.loads(sys.argv[1]))
