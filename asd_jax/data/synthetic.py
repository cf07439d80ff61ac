"""Synthetic two-channel recordings in the layout of the challenge.

A machine stands in its own simulated room, a near microphone 5 cm from it, a
far one elsewhere, other noise sources in the corners. Source and target domain
are two units of a machine; train and test use different noises. A machine's
level is set after it was scaled to the same power, normal or faulty, so that
loudness gives nothing away.

Everything follows from the seed: a clip is the same in every set that has it,
however many clips the set has.
"""

import io
import itertools
import math
import os
import zlib
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import scipy.fft
import soundfile

from asd_jax import errors, files
from asd_jax.data import machine_sound, synthetic_clips
from asd_jax.data.machine_sound import MACHINES, SAMPLE_RATE
from asd_jax.data.synthetic_clips import Clip
from asd_jax.ops import geometry, room
from asd_jax.typing import Array

RANGES = geometry.Ranges(far=(0.3, 1.0), rt60=(0.12, 0.4))
NEAR_RMS = 0.02
LEVEL_DB = 2.0  # of the machine, either way
CORNER_DB = 3.0  # of each noise source, either way
_PEAK = 0.98
_BLOCK = 20_480  # samples of a transform
_NOISE_TAKES = 4  # a corner and split
_HISS_TAKES = 3  # a unit, split and band
_WORKERS = min(8, os.cpu_count() or 1)
_SPLITS = ("train", "test")


class Scene(NamedTuple):
  """What all clips of a machine share.

  Attributes:
    machine: kind of machine.
    samples: length S of a clip.
    seed: of the set.
    transfer: `[2, F]` machine to near and far, for `_BLOCK` samples.
    noise: by split, `[4, takes, 2, P]` noises at both microphones, periodic.
    hiss: by domain and split, `[2, takes, P]` flow or friction, periodic.
  """

  machine: str
  samples: int
  seed: int
  transfer: np.ndarray
  noise: dict[str, np.ndarray]
  hiss: dict[tuple[str, str], np.ndarray]


def build(machine: str, *, seconds: float = 10.0, seed: int = 0) -> Scene:
  """Builds the room of a machine, its units and the noises around.

  Args:
    machine: kind of machine.
    seconds: length of its clips.
    seed: non-negative.

  Returns:
    The scene.

  Raises:
    InputError: an unknown machine, a length or a seed out of range.
  """
  synthetic_clips.check_known(machine)
  synthetic_clips.check_range("seconds", seconds, 0.5, 600)
  synthetic_clips.check_range("seed", seed, 0, math.inf)
  samples = round(seconds * SAMPLE_RATE)
  period = scipy.fft.next_fast_len(samples + room.LENGTH, real=True)
  u = _rng(seed, machine, "room").random(10, np.float32)
  response = _simulate(u, room.lattice(geometry.MAX_ORDER))  # [2, 5, L]
  transfer = scipy.fft.rfft(np.asarray(response), _BLOCK)  # [2, 5, F]

  def noise(split: str) -> np.ndarray:
    rng = _rng(seed, machine, split, "noise")
    takes = []
    for corner, take in itertools.product(range(4), range(_NOISE_TAKES)):
      dry = machine_sound.surroundings(rng, period, kind=corner + take)
      takes.append(_play(dry, transfer[:, 1 + corner], period))
    return np.reshape(takes, (4, _NOISE_TAKES, 2, period))

  def hiss(domain: str, split: str) -> np.ndarray:
    rng = _rng(seed, machine, domain, split, "hiss")
    bands = MACHINES[machine].bands(_unit(seed, machine, domain))
    bands = [band for band in bands for _ in range(_HISS_TAKES)]
    takes = [machine_sound.coloured(rng, period, band) for band in bands]
    return np.reshape(takes, (2, _HISS_TAKES, period))

  with futures.ThreadPoolExecutor(_WORKERS) as pool:
    noises = {split: pool.submit(noise, split) for split in _SPLITS}
    units = [
      (domain, split) for domain in synthetic_clips.DOMAINS for split in _SPLITS
    ]
    hisses = {unit: pool.submit(hiss, *unit) for unit in units}
  return Scene(
    machine,
    samples,
    seed,
    transfer[:, 0],
    {split: future.result() for split, future in noises.items()},
    {unit: future.result() for unit, future in hisses.items()},
  )


def record(scene: Scene, clips: Sequence[Clip]) -> np.ndarray:
  """Records clips of a scene.

  Args:
    scene: of the machine.
    clips: what is recorded, B of them.

  Returns:
    `[B, 2, S]` float32 within (-1, 1): near, far.
  """
  return np.stack([_record(scene, clip) for clip in clips])


def write(
  folder: str | os.PathLike,
  *,
  machines: Sequence[str] = tuple(MACHINES),
  num_source: int = 90,
  num_target: int = 10,
  num_test: int = 20,
  seconds: float = 10.0,
  seed: int = 0,
) -> list[Path]:
  """Writes a set: wave files, `attributes_00.csv` and `provenance.csv`.

  `provenance.csv` tells for every clip its fault, the severity of it and the
  signal-to-noise ratio at the near microphone, for people; nothing reads it.

  Args:
    folder: where the folders of the machines go.
    machines: kinds of machine.
    num_source: train clips of the source domain.
    num_target: train clips of the target domain.
    num_test: test clips of each domain and label.
    seconds: length of a clip.
    seed: another one gives other rooms, units, noises and clips.

  Returns:
    The wave files, machine by machine, train first.

  Raises:
    InputError: a setting out of range, or a folder with clips of another set.
  """
  if not machines or len(set(machines)) < len(machines):
    raise errors.InputError(
      f"machines: found {machines}, expected different names"
    )
  plans = [
    synthetic_clips.plan(
      m, num_source=num_source, num_target=num_target, num_test=num_test
    )
    for m in machines
  ]
  folder = Path(folder)
  for clips in plans:
    _refuse_others(folder, clips)
  for clips in plans:
    scene = build(clips[0].machine, seconds=seconds, seed=seed)
    _write_clips(folder, scene, clips)
    _write_tables(folder, scene, clips)
  return [folder / clip.path for clips in plans for clip in clips]


def _rng(seed: int, *words: str | int) -> np.random.Generator:
  """Random generator of a purpose."""
  return np.random.default_rng([seed, zlib.crc32(repr(words).encode())])


def _unit(seed: int, machine: str, domain: str) -> np.ndarray:
  words = [seed, zlib.crc32(machine.encode())]
  return machine_sound.unit_numbers(words, target=domain == "target")


@jax.jit
def _simulate(u: Array, cells: Array) -> Array:
  place = geometry.from_uniform(u, ranges=RANGES)
  return room.normalise(room.responses(place, cells))


def _play(dry: np.ndarray, transfer: np.ndarray, samples: int) -> np.ndarray:
  """Plays `[P]` in a room and records `[2, samples]`, by overlap-save.

  The recording starts when the response has run in. Past its end the sound
  starts again, so that a periodic sound has a periodic recording.
  """
  hop = _BLOCK - room.LENGTH + 1
  num = -(-samples // hop)
  wave = np.resize(dry, num * hop + room.LENGTH - 1)
  blocks = np.lib.stride_tricks.sliding_window_view(wave, _BLOCK)[::hop]
  spectra = scipy.fft.rfft(blocks) * transfer[:, None]  # [2, num, F]
  heard = scipy.fft.irfft(spectra, _BLOCK)[..., room.LENGTH - 1 :]
  return heard.reshape(2, -1)[:, :samples]


def _clip_rng(scene: Scene, clip: Clip) -> tuple[np.random.Generator, float]:
  """Random generator of a clip, and its near signal-to-noise ratio in dB."""
  rng = _rng(scene.seed, *clip)
  return rng, rng.uniform(*MACHINES[clip.machine].snr_db)


def _record(scene: Scene, clip: Clip) -> np.ndarray:
  """Records `[2, S]`: near, far."""
  rng, snr_db = _clip_rng(scene, clip)
  level = NEAR_RMS * 10 ** (rng.uniform(-LEVEL_DB, LEVEL_DB) / 20)
  takes = scene.hiss[clip.domain, clip.split]
  hiss = np.stack([_blend(rng, band) for band in takes])  # [2, P]
  unit = _unit(scene.seed, clip.machine, clip.domain)
  state = machine_sound.Condition(clip.setting, clip.fault, clip.severity)
  dry = MACHINES[clip.machine].sound(rng, unit, state, hiss)  # [P]
  wet = _play(dry, scene.transfer, scene.samples)
  wet *= level / _rms(wet[0])
  noise = np.zeros_like(wet)
  for takes in scene.noise[clip.split]:
    gain = 10 ** (rng.uniform(-CORNER_DB, CORNER_DB) / 20)
    _add_turned(noise, rng, takes, gain)
  noise *= level * 10 ** (-snr_db / 20) / _rms(noise[0])
  wave = wet + noise
  return wave * min(1.0, _PEAK / float(np.abs(wave).max()))


def _rms(wave: np.ndarray) -> float:
  return math.sqrt(np.mean(np.square(wave)))


def _blend(rng: np.random.Generator, takes: np.ndarray) -> np.ndarray:
  """Mixes two of the takes `[takes, P]`, each turned, to `[P]`."""
  result = np.zeros_like(takes[0])
  angle = rng.uniform(0, 2 * math.pi)
  for gain in (math.cos(angle), math.sin(angle)):
    _add_turned(result, rng, takes, gain)
  return result


def _add_turned(
  result: np.ndarray, rng: np.random.Generator, takes: np.ndarray, gain: float
) -> None:
  """Adds one of the periodic takes `[takes, ..., P]` from a random start."""
  take = takes[rng.integers(len(takes))]
  start, samples = rng.integers(take.shape[-1]), result.shape[-1]
  first = take[..., start : start + samples]
  num = first.shape[-1]
  result[..., :num] += gain * first
  result[..., num:] += gain * take[..., : samples - num]


def _write_clip(folder: Path, scene: Scene, clip: Clip) -> None:
  pcm = np.rint(_record(scene, clip) * 32_767).astype(np.int16)  # [2, S]
  content = io.BytesIO()
  soundfile.write(content, pcm.T, SAMPLE_RATE, format="WAV", subtype="PCM_16")
  files.atomic_write_bytes(folder / clip.path, content.getvalue())


def _write_clips(folder: Path, scene: Scene, clips: Sequence[Clip]) -> None:
  pool = futures.ThreadPoolExecutor(_WORKERS)
  try:
    tasks = [pool.submit(_write_clip, folder, scene, clip) for clip in clips]
    for task in tasks:
      task.result()
  finally:
    pool.shutdown(cancel_futures=True)


def _write_tables(folder: Path, scene: Scene, clips: Sequence[Clip]) -> None:
  """Writes the attributes and, for people, where the clips come from."""
  attributes = [("file_name", "d1p", "d1v")]
  provenance = [("file_name", "fault", "severity", "near_snr_db")]
  for clip in sorted(clips, key=lambda clip: clip.path):
    name, _, value = clip.attribute.partition("_")
    attributes.append((clip.path, name, value))
    _, snr_db = _clip_rng(scene, clip)
    severity = f"{clip.severity:.2f}" if clip.fault else ""
    provenance.append((clip.path, clip.fault, severity, f"{snr_db:.2f}"))
  tables = {"attributes_00": attributes, "provenance": provenance}
  for name, rows in tables.items():
    path = folder / scene.machine / f"{name}.csv"
    files.atomic_write_text(path, files.csv_text(rows))


def _refuse_others(folder: Path, clips: Sequence[Clip]) -> None:
  """Refuses a machine's folder that holds clips of another set."""
  names = {folder / clip.path for clip in clips}
  found = set((folder / clips[0].machine).rglob("*.wav")) - names
  if found:
    raise errors.InputError(
      f"{folder / clips[0].machine}: found {len(found)} wave files of another "
      f"set, such as {min(found).name}, expected an empty folder"
    )
