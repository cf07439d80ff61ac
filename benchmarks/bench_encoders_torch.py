"""The PyTorch sides of `bench_encoders.py`; needs torch, and no JAX.

Run by it: python benchmarks/bench_encoders_torch.py SIDE JSON

The networks are standard PyTorch layers in the shapes of the published ones,
in evaluation and inference mode, with random weights. Attention is
`scaled_dot_product_attention`; that of BEATs gets its gated bias as a mask.
"""

import json
import math
import sys

import measure
import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
  """Self-attention, by one projection of all three inputs."""

  def __init__(self, width, num_heads):
    super().__init__()
    self.num_heads = num_heads
    self.qkv = nn.Linear(width, 3 * width)
    self.proj = nn.Linear(width, width)

  def forward(self, x):
    """Maps `[B, L, D]` to `[B, L, D]`."""
    batch, length, width = x.shape
    qkv = self.qkv(x).reshape(batch, length, 3, self.num_heads, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    out = functional.scaled_dot_product_attention(query, key, value)
    return self.proj(out.transpose(1, 2).reshape(batch, length, width))


class GatedAttention(nn.Module):
  """Self-attention with a relative bias that each query weighs."""

  def __init__(self, width, num_heads):
    super().__init__()
    self.num_heads = num_heads
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
      setattr(self, name, nn.Linear(width, width))
    self.grep_linear = nn.Linear(width // num_heads, 8)
    self.grep_a = nn.Parameter(torch.ones(1, num_heads, 1, 1))

  def forward(self, x, bias):
    """Maps `[B, L, D]` and a bias `[H, L, L]` to `[B, L, D]`."""
    batch, length, width = x.shape
    split = lambda y: y.view(batch, length, self.num_heads, -1).transpose(1, 2)
    query, key = split(self.q_proj(x)), split(self.k_proj(x))
    value = split(self.v_proj(x))
    parts = self.grep_linear(query).unflatten(-1, (2, 4)).sum(-1)
    first, second = torch.sigmoid(parts).chunk(2, dim=-1)  # [B, H, L, 1]
    gate = first * (second * self.grep_a - 1.0) + 2.0
    out = functional.scaled_dot_product_attention(
      query, key, value, attn_mask=gate * bias
    )
    return self.out_proj(out.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
  """Attention and MLP; `order` is where the norms are, `gain` the residual."""

  def __init__(self, attention, width, hidden, order, gain=1.0):
    super().__init__()
    self.attention, self.order, self.gain = attention, order, gain
    self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
    layers = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
    self.mlp = nn.Sequential(*layers)

  def forward(self, x, *bias):
    """Maps `[B, L, D]` to `[B, L, D]`."""
    if self.order == "pre":
      x = x + self.attention(self.norm1(x), *bias)
      return x + self.mlp(self.norm2(x))
    scaled = lambda x: x if self.gain == 1.0 else self.gain * x
    x = self.norm1(scaled(x) + self.attention(x, *bias))
    return self.norm2(scaled(x) + self.mlp(x))


def _blocks(s, attention, order, gain=1.0):
  width = s["width"]
  return nn.ModuleList(
    Block(attention(width, s["num_heads"]), width, s["hidden"], order, gain)
    for _ in range(s["depth"])
  )


class Eat(nn.Module):
  """Patches with a CLS token through post-norm blocks."""

  def __init__(self, s):
    super().__init__()
    width = s["width"]
    self.patch = nn.Conv2d(1, width, 16, 16)
    self.cls = nn.Parameter(torch.zeros(1, 1, width))
    self.positions = nn.Parameter(torch.zeros(1, s["num_positions"], width))
    self.norm = nn.LayerNorm(width)
    self.blocks = _blocks(s, Attention, "post")

  def forward(self, picture):
    """Maps `[B, T, 128]` to `[B, 1 + L, D]`."""
    x = self.patch(picture[:, None]).flatten(2).transpose(1, 2)
    x = x + self.positions[:, : x.shape[1]]
    x = self.norm(torch.cat([self.cls.expand(len(x), -1, -1), x], 1))
    for block in self.blocks:
      x = block(x)
    return x


class Vit(nn.Module):
  """Patches with a CLS token through pre-norm blocks, then a norm."""

  def __init__(self, s):
    super().__init__()
    width = s["width"]
    self.patch = nn.Conv2d(1, width, 16, 16)
    self.cls = nn.Parameter(torch.zeros(1, 1, width))
    self.positions = nn.Parameter(torch.zeros(1, 1024, width))
    self.blocks = _blocks(s, Attention, "pre")
    self.norm = nn.LayerNorm(width)

  def forward(self, picture):
    """Maps `[B, T, M]` to `[B, 1 + L, D]`."""
    x = self.patch(picture[:, None]).flatten(2).transpose(1, 2)
    x = x + self.positions[:, : x.shape[1]]
    x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
    for block in self.blocks:
      x = block(x)
    return self.norm(x)


class Dasheng(nn.Module):
  """One token for all bands of four frames, through pre-norm blocks."""

  def __init__(self, s):
    super().__init__()
    width = s["width"]
    self.input_norm = nn.BatchNorm2d(64)
    self.patch = nn.Conv2d(1, width, (64, 4), (64, 4))
    shape = (1, s["num_positions"], width)
    self.positions = nn.Parameter(torch.zeros(shape))
    self.band = nn.Parameter(torch.zeros(1, 1, width))
    self.blocks = _blocks(s, Attention, "pre")
    self.norm = nn.LayerNorm(width)

  def forward(self, mel):
    """Maps `[B, T, 64]` to `[B, L, D]`."""
    x = self.input_norm(mel.transpose(1, 2)[..., None])  # [B, 64, T, 1]
    x = self.patch(x.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
    x = x + self.positions[:, : x.shape[1]] + self.band
    for block in self.blocks:
      x = block(x)
    return self.norm(x)


class Beats(nn.Module):
  """Patches and a position convolution, through gated post-norm blocks."""

  def __init__(self, s):
    super().__init__()
    width, inner, taps = s["width"], s["embed_width"], s["num_taps"]
    self.patch = nn.Conv2d(1, inner, 16, 16, bias=False)
    self.patch_norm, self.norm = nn.LayerNorm(inner), nn.LayerNorm(width)
    self.proj = nn.Linear(inner, width)
    groups = s["num_groups"]
    conv = nn.Conv1d(width, width, taps, padding=taps // 2, groups=groups)
    self.pos = nn.utils.parametrizations.weight_norm(conv, dim=2)
    self.bias = nn.Embedding(s["num_buckets"], s["num_heads"])
    gain = (2 * s["depth"]) ** 0.25
    self.blocks = _blocks(s, GatedAttention, "post", gain)
    self.num_buckets, self.far = s["num_buckets"], s["max_distance"]

  def buckets(self, length):
    """Bucket of every query and key, `[L, L]`."""
    place = torch.arange(length)
    offset = place[None] - place[:, None]
    half = self.num_buckets // 2
    exact, distance = half // 2, offset.abs()
    share = torch.log(distance.clamp(min=1) / exact)
    share = share / math.log(self.far / exact) * (half - exact)
    large = (exact + share.to(torch.long)).clamp(max=half - 1)
    near = torch.where(distance < exact, distance, large)
    return near + half * (offset > 0)

  def forward(self, picture):
    """Maps `[B, T, 128]` to `[B, L, D]`."""
    x = self.patch(picture[:, None])  # [B, inner, T', F]
    x = self.patch_norm(x.flatten(2).transpose(1, 2))
    x = self.proj(x)
    positions = self.pos(x.transpose(1, 2))[..., :-1].transpose(1, 2)
    x = self.norm(x + functional.gelu(positions))
    bias = self.bias(self.buckets(x.shape[1])).permute(2, 0, 1)
    for block in self.blocks:
      x = block(x, bias)
    return x


NETWORKS = {
  "eat": Eat,
  "fisher": Eat,
  "dasheng": Dasheng,
  "beats": Beats,
  **dict.fromkeys(("ced", "m2d_clap", "audiomae"), Vit),
}


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def encoder_side(family, settings, shape, flop, dtype="float32"):
  """Tokens of a batch; products in float32 are not rounded to TF32."""
  torch.manual_seed(0)
  place = dict(device=DEVICE, dtype=getattr(torch, dtype))
  network = NETWORKS[family](settings).eval().to(**place)
  picture = torch.randn(*shape).to(**place)

  def once():
    network(picture)
    if DEVICE == "cuda":  # calls return before the device is done
      torch.cuda.synchronize()

  out = measure.best_of(once)
  num = sum(p.numel() for p in network.parameters())
  measure.report(*out, flop * shape[0], num=shape[0], parameters=num)


def frontend_side(num, samples):
  """The normalised filter bank of EAT, clip after clip."""
  from torchaudio.compliance import kaldi

  waves = torch.randn(num, samples) * 0.1

  def one(wave):
    bands = kaldi.fbank(
      (wave - wave.mean())[None],
      htk_compat=True,
      sample_frequency=16_000,
      use_energy=False,
      window_type="hanning",
      num_mel_bins=128,
      dither=0.0,
    )
    fill = -len(bands) % 16
    return (functional.pad(bands, (0, 0, 0, fill)) + 4.268) / (2 * 4.569)

  out = measure.best_of(lambda: torch.stack([one(w) for w in waves]), 10)
  measure.report(*out, num=num)


def ludo_side(**sizes):
  """Distances to a bank whose mixed rows are there."""
  bank, chosen, query = map(torch.from_numpy, measure.ludo_bank(**sizes))

  def once():
    full = torch.cdist(query, bank).amin(1)
    return 0.5 * full + 0.5 * torch.cdist(query, chosen).amin(1)

  flop = 2.0 * query.numel() * (len(bank) + len(chosen))
  mean = float(once().mean())
  measure.report(*measure.best_of(once), flop, num=len(query), mean=mean)


SIDES = {
  "encoder": encoder_side,
  "frontend": frontend_side,
  "ludo": ludo_side,
}

if __name__ == "__main__":
  with torch.inference_mode():
    SIDES[sys.argv[1]](**json.loads(sys.argv[2]))
