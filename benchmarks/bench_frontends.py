"""Denoised log-mel front ends against a NumPy and SciPy loop over clips.

Run: python benchmarks/bench_frontends.py [memory]

Two channels of 10 s as 16-bit integers become floats, spectra, the fitted
noise transfer (where there is one), denoised power, mel bands and decibels.
The NumPy side goes clip by clip, as a data loader's worker does; both have the
same cores. Printed: clips a second of both and their ratio. With `memory`:
the largest resident size of the streamed statistics of 50 and of 500 clips.
"""

import json
import os
import sys
import time

RATE, SECONDS, CLIPS, BATCH = 16_000, 10, 32, 4
NAMES = (
  "ada_sub", "ref_sub", "coh_gate", "coh_sub", "wiener", "mmse_lsa",
  "coherence_mask",
)  # fmt: skip
EPS = 1e-12


def make_clips(num):
  """Noise of both channels, `[num, 2, S]` int16."""
  import numpy as np

  rng = np.random.default_rng(0)
  wave = rng.normal(0.0, 1000.0, (num, 2, RATE * SECONDS))
  return wave.astype(np.int16)


def report(seconds, **more):
  """Prints the JSON line of one side; `seconds` for all clips."""
  print(json.dumps({"seconds": seconds, "clips_per_second": CLIPS / seconds}
                   | more))  # fmt: skip


def jax_side(name):
  """Batches of clips through the package's functions; the best pass counts."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from asd_jax.frontends import denoise, log_mel

  frontend = log_mel.log_mel(denoiser=denoise.DENOISERS[name]())
  floats = lambda clip: clip.astype(jnp.float32) / 32768.0
  apply = jax.jit(
    jax.vmap(lambda s, x: frontend.apply(s, floats(x)), (None, 0))
  )

  @jax.jit
  def add(total, clips):
    sums = jax.vmap(lambda x: frontend.measure(floats(x)))(clips)
    return jax.tree.map(lambda t, s: t + jnp.sum(s, 0), total, sums)

  clips = make_clips(CLIPS)
  batches = [clips[i : i + BATCH] for i in range(0, CLIPS, BATCH)]
  zero = {"near": np.zeros(513), "far": np.zeros(513), "count": np.zeros(())}
  zero = jax.tree.map(np.float32, zero)

  def once():
    state = {}
    if frontend.measure:
      total = zero
      for batch in batches:
        total = add(total, batch)
      state = frontend.fit(total)
    return [np.asarray(apply(state, batch)) for batch in batches]

  out = once()
  report(best_of(once), mean=float(np.mean(out)))


def best_of(once, repeats=4):
  """Least seconds of a few calls."""
  best = float("inf")
  for _ in range(repeats):
    start = time.perf_counter()
    once()
    best = min(best, time.perf_counter() - start)
  return best


def numpy_side(name):
  """Clip after clip; the best pass counts."""
  import numpy as np

  bank = mel_bank()
  clips = make_clips(CLIPS)

  def once():
    gain = None
    if name not in {"coh_gate", "coherence_mask"}:
      floors = [numpy_floors(clip) for clip in clips]
      near, far = np.mean(floors, axis=0)
      gain = (near + EPS) / (far + EPS)
    out = []
    for clip in clips:
      power = numpy_power(name, numpy_spectra(clip), gain)
      mel = bank @ power
      out.append(10.0 * np.log10(np.maximum(mel, 2.22e-16)))
    return out

  out = once()
  report(best_of(once, 2), mean=float(np.mean(out)))


def mel_bank():
  """Slaney's filters, written out here once more, `[128, 513]`."""
  import numpy as np

  step = np.log(6.4) / 27.0
  hertz = lambda m: np.where(
    m < 15.0, m * 200.0 / 3.0, 1000.0 * np.exp(step * (np.maximum(m, 15) - 15))
  )
  edge = hertz(np.linspace(0.0, 15.0 + np.log(8.0) / step, 130))
  freq = np.linspace(0.0, RATE / 2, 513)
  up = (freq - edge[:-2, None]) / (edge[1:-1] - edge[:-2])[:, None]
  down = (edge[2:, None] - freq) / (edge[2:] - edge[1:-1])[:, None]
  area = 2.0 / (edge[2:] - edge[:-2])
  bank = np.maximum(0.0, np.minimum(up, down)) * area[:, None]
  return bank.astype(np.float32)


def numpy_spectra(clip):
  """Both channels' spectra by SciPy, `[2, 513, T]`, unscaled."""
  import numpy as np
  import scipy.signal

  wave = clip.astype(np.float32) / np.float32(32768.0)
  window = scipy.signal.get_window("hann", 1024).astype(np.float32)
  spectra = scipy.signal.stft(
    wave, RATE, window, 1024, 512, boundary="zeros", padded=False
  )[2]
  return spectra * window.sum()


def numpy_floors(clip):
  """Noise floors of one clip, `[2, 513]`."""
  import numpy as np

  return np.percentile(np.abs(numpy_spectra(clip)) ** 2, 20.0, axis=-1)


def numpy_averages(near, far):
  """Moving averages of both powers and the cross spectrum by SciPy."""
  import numpy as np
  import scipy.signal

  out = []
  for v in (np.abs(near) ** 2, np.abs(far) ** 2, near * np.conj(far)):
    start = 0.9 * v[:, :1]
    out.append(scipy.signal.lfilter([0.1], [1.0, -0.9], v, zi=start)[0])
  return out


def numpy_gains(name, post):
  """Decision-directed power gains, frame by frame."""
  import numpy as np
  import scipy.special

  last, out = np.ones(len(post), np.float32), np.empty_like(post)
  for t, now in enumerate(post.T):
    prior = 0.98 * last + 0.02 * np.maximum(now - 1.0, 0.0)
    prior = np.clip(prior, 10**-2.5, 1e4)
    gain = prior / (1.0 + prior)
    if name == "mmse_lsa":
      half = 0.5 * scipy.special.exp1(np.maximum(gain * now, 1e-8))
      gain = np.minimum(gain * np.exp(half), 1.0)
    last = gain**2 * now
    out[:, t] = np.maximum(gain**2, 0.1)
  return out


def numpy_power(name, spectra, transfer):
  """Denoised power of the near channel, `[513, T]`."""
  import numpy as np

  near, far = np.abs(spectra) ** 2
  if name in {"coh_gate", "coh_sub", "coherence_mask"}:
    a, b, cross = numpy_averages(*spectra)
    eps = 1e-10 if name == "coherence_mask" else EPS**2
    msc = np.clip(np.abs(cross) ** 2 / (a * b + eps), 0.0, 1.0)
    gate = np.clip(1.0 - msc, 0.1, 1.0)
    if name == "coherence_mask":
      share = ((b + eps) / (a + eps)) ** 5.0
      mask = np.maximum((1.0 - 0.7 * msc) / (1.0 + share), 0.2)
      return mask**2 * near
    if name == "coh_gate":
      return gate**2 * near
    noise = transfer[:, None] * far
    return np.maximum(gate * (near - 1.5 * noise), 0.1 * near)
  noise = transfer[:, None] * far
  if name in {"wiener", "mmse_lsa"}:
    post = np.clip(near / (noise + EPS), 1e-3, 1e4)
    return numpy_gains(name, post) * near
  factor = 1.5
  if name == "ada_sub":
    ratio = 10.0 * np.log10((near + EPS) / (noise + EPS))
    factor = np.clip(3.0 - 0.1 * ratio, 1.0, 4.0)
  return np.maximum(near - factor * noise, 0.1 * near)


def memory_side(num):
  """Streams clips through the statistics; resident size at its highest."""
  import resource

  import jax
  import jax.numpy as jnp
  import numpy as np

  from asd_jax.frontends import denoise, log_mel

  frontend = log_mel.log_mel(denoiser=denoise.ada_sub())

  @jax.jit
  def add(total, clip):
    sums = frontend.measure(clip.astype(jnp.float32) / 32768.0)
    return jax.tree.map(jnp.add, total, sums)

  rng = np.random.default_rng(0)
  zero = np.zeros(513, np.float32)
  total = {"near": zero, "far": zero, "count": np.zeros((), np.float32)}
  start = time.perf_counter()
  for _ in range(num):
    clip = rng.integers(-2000, 2000, (2, RATE * SECONDS), np.int16)
    total = jax.block_until_ready(add(total, clip))
  frontend.fit(total)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  print(json.dumps({"seconds": time.perf_counter() - start, "peak_mib": peak}))


def main(arguments):
  """Runs both sides, alternated, and prints the comparison."""
  if arguments and arguments[0].startswith("side="):
    side, name = arguments[0].removeprefix("side=").split(",")
    if side == "memory":
      return memory_side(int(name))
    return numpy_side(name) if side == "numpy" else jax_side(name)
  import paired

  command = lambda side: [sys.executable, os.path.abspath(__file__), side]
  if "memory" in arguments:
    sides = {num: command(f"side=memory,{num}") for num in (50, 500)}
    best = paired.compare(sides, repeats=1)
    for num, line in best.items():
      print(f"{num} clips: {line['peak_mib']:.0f} MiB at most")
    return None
  for name in NAMES:
    sides = {side: command(f"side={side},{name}") for side in ("jax", "numpy")}
    best = paired.compare(sides, repeats=3)
    ours, loop = best["jax"], best["numpy"]
    print(
      f"{name}: {ours['clips_per_second']:.0f} clips/s,"
      f" NumPy {loop['clips_per_second']:.1f} clips/s,"
      f" ratio {loop['seconds'] / ours['seconds']:.1f},"
      f" mean {ours['mean']:.4f} and {loop['mean']:.4f} dB",
      flush=True,
    )
  return None


if __name__ == "__main__":
  main(sys.argv[1:])
