"""Sounds of four machines, normal and faulty, before any room.

Every machine is a function of a random generator for the clip, its unit, the
setting that its attribute names, and a fault with a severity in [0, 1]. A unit
is a row of uniform numbers: the first eight say the design (blades, teeth),
the others the specimen, which is another one in the target domain. Faults do
what they do in a real machine: an imbalance acts once a turn, a damaged
bearing ticks at its fault frequency, a broken tooth meets its partner once a
turn, a leak hisses while the valve is shut.

`hiss` is what flow or friction sounds like: periodic noise in two bands.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike

SAMPLE_RATE = 16_000
_TABLE = 4096


class Condition(NamedTuple):
  """What state a machine is in.

  Attributes:
    setting: number of the attribute value, from 0; 0 without attributes.
    fault: name of the fault, "" when normal.
    severity: 0 (hardly there) to 1.
  """

  setting: int = 0
  fault: str = ""
  severity: float = 0.0

  def grade(self, fault: str, low: float, high: float) -> float:
    """Amplitude of a fault from its levels in dB at severity 0 and 1."""
    if fault != self.fault:
      return 0.0
    return 10 ** ((low + (high - low) * self.severity) / 20)


Band = tuple[float, float, float]
Sound = Callable[
  [np.random.Generator, np.ndarray, Condition, np.ndarray], np.ndarray
]


class Machine(NamedTuple):
  """A kind of machine.

  Attributes:
    sound: `(rng, unit [64], condition, hiss [2, S]) -> [S]`, of unit RMS.
    bands: `unit [64] ->` the two bands of its hiss: centre in Hz, width in
      octaves, slope in dB an octave.
    source: attribute values of the source domain; empty for no attributes.
    target: those of the target domain.
    faults: names of its faults.
    snr_db: range of the signal-to-noise ratio at the near microphone.
  """

  sound: Sound
  bands: Callable[[np.ndarray], tuple[Band, Band]]
  source: tuple[str, ...]
  target: tuple[str, ...]
  faults: tuple[str, ...]
  snr_db: tuple[float, float]


def unit_numbers(seed: Sequence[int], *, target: bool) -> np.ndarray:
  """Draws what a unit is made of.

  Args:
    seed: non-negative integers, the same for both domains.
    target: whether it is the unit of the target domain.

  Returns:
    `[64]` in [0, 1); the first eight are the same in both domains.
  """
  numbers = np.random.default_rng(seed).random((2, 64), np.float32)
  numbers[1, :8] = numbers[0, :8]  # the design
  return numbers[int(target)]


def coloured(rng: np.random.Generator, samples: int, band: Band) -> np.ndarray:
  """Periodic noise of unit RMS in a band with soft edges.

  Args:
    rng: random generator.
    samples: period S.
    band: centre in Hz, width in octaves, slope inside in dB an octave.

  Returns:
    `[S]`.
  """
  centre, width, slope = (float(number) for number in band)
  freq = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE).astype(np.float32)
  octaves = np.log2(np.maximum(freq, 20.0) / centre)
  edge = np.square(np.square(octaves * (2 / width)))
  gain = np.exp2(octaves * (slope / 6.02) - 0.8 * edge)
  gain[0] = 0.0  # no offset
  parts = rng.random((len(freq), 2), np.float32) - np.float32(0.5)
  spectrum = gain * parts.view(np.complex64)[:, 0]
  return unit_rms(scipy.fft.irfft(spectrum, samples))


def unit_rms(wave: np.ndarray) -> np.ndarray:
  """Scales `[S]` to an RMS of 1."""
  return wave / np.sqrt(np.mean(np.square(wave)))


def _turns(
  rng: np.random.Generator, samples: int, hz: float, *, drift: float = 0.004
) -> np.ndarray:
  """Revolutions `[S]` (float64) of a shaft whose speed drifts by `drift`."""
  time = np.arange(samples) / SAMPLE_RATE
  bend = rng.uniform(-drift, drift) / 2 / time[-1]
  return rng.uniform() + hz * (time + bend * time * (time - time[-1]))


def series(
  turns: np.ndarray, amplitude: ArrayLike, phase: ArrayLike
) -> np.ndarray:
  """Harmonics 1, 2, ... of a rotation, `[S]`; phases in turns of each."""
  amplitude = np.asarray(amplitude)
  order = np.arange(1, len(amplitude) + 1)[:, None]
  part = order * np.arange(_TABLE) / _TABLE + np.asarray(phase)[:, None]
  table = amplitude @ np.cos(2 * np.pi * part)
  # From a table of one turn: more harmonics cost no more time a sample.
  index = (turns * _TABLE).astype(np.intp) & (_TABLE - 1)
  return np.take(table.astype(np.float32), index, mode="clip")


def _cosine(turns: np.ndarray, phase: float = 0.0) -> np.ndarray:
  """Cosine `[S]` of a rotation, `phase` in turns."""
  return series(turns, [1.0], [phase])


def _passings(turns: np.ndarray, order: float) -> np.ndarray:
  """Samples at which `order` times the turns passes a whole number."""
  whole = (turns * order).astype(np.int32)
  return np.flatnonzero(whole[1:] != whole[:-1])


def resonance(hz: float, seconds: float) -> np.ndarray:
  """A struck resonance that decays by e in `seconds`."""
  time = np.arange(int(6 * seconds * SAMPLE_RATE)) / SAMPLE_RATE
  wave = np.exp(-time / seconds) * np.sin(2 * np.pi * hz * time)
  return wave.astype(np.float32)


def strike(
  wave: np.ndarray, at: np.ndarray, force: np.ndarray, ring: np.ndarray
) -> None:
  """Adds a ring, scaled by force, at every sample of `at`, in place."""
  for start, scale in zip(at.tolist(), force.tolist(), strict=True):
    part = wave[start : start + len(ring)]
    part += scale * ring[: len(part)]


def surroundings(
  rng: np.random.Generator, samples: int, *, kind: int
) -> np.ndarray:
  """Noise of a hall: hiss, rumble, a machine, crackle or chopping.

  Args:
    rng: random generator.
    samples: period S.
    kind: which of the five, modulo 5.

  Returns:
    `[S]`, periodic, of unit RMS.
  """
  kind %= 5
  time = np.arange(samples, dtype=np.float32) / samples
  rate = lambda low, high: round(rng.uniform(low, high) * samples / SAMPLE_RATE)
  if kind == 0:
    wave = coloured(rng, samples, (3000.0, 6.0, 1.0))
  elif kind == 1:
    wave = coloured(rng, samples, (150.0, 4.0, -3.0))
    wave *= 1 + 0.6 * _cosine(rate(0.2, 1.0) * time)
  elif kind == 2:
    wave = coloured(rng, samples, (800.0, 6.0, -3.0))
    fall = 1 / np.arange(1, 13)
    wave += series(rate(30, 80) * time, fall, rng.random(12))
  elif kind == 3:
    wave = 0.3 * coloured(rng, samples, (1000.0, 8.0, -1.0))
    at = rng.integers(samples, size=30 * samples // SAMPLE_RATE)
    strike(wave, at, rng.exponential(2.0, len(at)), resonance(2500, 0.001))
  else:
    wave = coloured(rng, samples, (400.0, 5.0, -3.0))
    wave *= 1 + 0.7 * _cosine(rate(10, 18) * time)
  return unit_rms(wave)


def _jitter(
  rng: np.random.Generator, num: int, *, decibel: float = 1.5
) -> np.ndarray:
  """Factors `[num]` by which levels differ from clip to clip."""
  levels = rng.uniform(-decibel, decibel, num).astype(np.float32)
  return np.exp2(levels / 6.02)


def _timbre(unit: np.ndarray, first: int, num: int, fall: float) -> np.ndarray:
  """Amplitudes `[num]` of harmonics that fall by `order ** -fall`."""
  spread = 10 ** (10 * (unit[first : first + num] - 0.5) / 20)
  return spread * np.arange(1, num + 1) ** -fall


def _bearing(
  rng: np.random.Generator,
  wave: np.ndarray,
  turns: np.ndarray,
  *,
  order: float,
  ring: np.ndarray,
  force: float,
) -> None:
  """Adds the ticks of a damaged race, `order` a turn, loaded once a turn."""
  if force:
    at = _passings(turns, order * rng.uniform(0.995, 1.005))  # slip
    load = 1 + 0.6 * np.cos(2 * np.pi * turns[at])
    strike(wave, at, force * load * rng.uniform(0.7, 1.3, len(at)), ring)


def _fan(
  rng: np.random.Generator,
  unit: np.ndarray,
  condition: Condition,
  hiss: np.ndarray,
) -> np.ndarray:
  """Blade harmonics over turbulence; attribute: speed."""
  blades = 5 + int(3 * unit[0])
  speed = (16.0, 20.5, 25.0)[condition.setting] * (0.88 + 0.24 * unit[8])
  turns = _turns(rng, hiss.shape[1], speed * rng.uniform(0.99, 1.01))
  tone = series(
    turns * blades, _timbre(unit, 16, 8, 0.8) * _jitter(rng, 8), unit[24:32]
  )
  shaft = series(turns, (0.5, 0.3, 0.2), unit[32:35])
  flow, whirl = _jitter(rng, 2)
  clogged = condition.grade("clogging", -9.0, 2.0)
  wave = tone + (1 + 0.25 * tone) * flow * (1.0 + clogged) * hiss[0]
  wave += (0.5 * whirl / (1 + clogged)) * hiss[1]
  wave += 0.12 * _jitter(rng, 1, decibel=3.0) * shaft
  unbalanced = condition.grade("imbalance", -18.0, -5.0)
  if unbalanced:
    wave *= 1 + unbalanced * _cosine(turns)
    wave += 3 * unbalanced * shaft
  ring = resonance(2600 + 1400 * unit[36], 0.002)
  force = condition.grade("bearing", -6.0, 8.0)
  _bearing(rng, wave, turns, order=3.58, ring=ring, force=force)
  return unit_rms(wave)


def _fan_bands(unit: np.ndarray) -> tuple[Band, Band]:
  return (250 + 200 * unit[40], 5.0, -4.0), (2000 + 1200 * unit[41], 2.5, -2.0)


def _gearbox(
  rng: np.random.Generator,
  unit: np.ndarray,
  condition: Condition,
  hiss: np.ndarray,
) -> np.ndarray:
  """Mesh tones with sidebands; attribute: speed and load of the process."""
  pinion, wheel = 17 + int(5 * unit[0]), 37 + int(9 * unit[1])
  speed = 19.0 + 1.3 * condition.setting + 6.0 * unit[8]
  load = (0.6, 1.0, 1.5)[condition.setting % 3]
  fast = _turns(rng, hiss.shape[1], speed * rng.uniform(0.992, 1.008))
  slow = fast * (pinion / wheel)
  worn = condition.grade("wear", -22.0, -5.0)
  depth = 0.15 + 0.6 * worn
  levels = _timbre(unit, 16, 6, 1.0) * _jitter(rng, 6)
  levels[1:3] *= 1 + 1.5 * worn
  turn = _cosine(slow)
  play = 0.01 * (1 + 4 * worn) * turn  # phase sidebands
  mesh = series(fast * pinion + play, levels, unit[24:30])
  mesh *= (1 + 0.5 * depth * _cosine(fast, 0.16)) * (1 + depth * turn)
  rub, whine = _jitter(rng, 2)
  wave = load * mesh + 0.5 * rub * hiss[0] + 0.4 * whine * load * hiss[1]
  force = condition.grade("tooth", -8.0, 5.0)
  if force:
    at = _passings(slow, 1.0)
    force = force * rng.uniform(0.8, 1.2, len(at))
    strike(wave, at, force, resonance(1300 + 900 * unit[36], 0.006))
  ring = resonance(3000 + 1500 * unit[37], 0.0015)
  force = condition.grade("bearing", -8.0, 5.0)
  _bearing(rng, wave, fast, order=5.43, ring=ring, force=force)
  return unit_rms(wave)


def _gearbox_bands(unit: np.ndarray) -> tuple[Band, Band]:
  return (400 + 300 * unit[40], 4.0, -3.0), (2400 + 1500 * unit[41], 2.0, 0.0)


def _valve(
  rng: np.random.Generator,
  unit: np.ndarray,
  condition: Condition,
  hiss: np.ndarray,
) -> np.ndarray:
  """Clicks of a solenoid with flow between opening and closing."""
  samples = hiss.shape[1]
  stuck = condition.grade("sticking", -9.0, 0.0)
  period = (0.30 + 0.12 * unit[8]) * rng.uniform(0.97, 1.03) * SAMPLE_RATE
  count = int(samples / period) + 2
  start = (np.arange(count) - rng.uniform()) * period
  start += rng.normal(0, 0.004 * SAMPLE_RATE, count)
  hold = period * (0.42 + 0.1 * unit[9] + 0.2 * stuck * rng.random(count))
  opened = np.clip(start, 0, samples).astype(int)
  closed = np.clip(start + hold, 0, samples).astype(int)
  flow, murmur = _jitter(rng, 2)
  leak = condition.grade("leak", -15.0, -3.0)
  gate = np.full(samples, leak, np.float32)
  for low, high in zip(opened, closed, strict=True):
    gate[low:high] = 1.0
  wave = 0.15 * flow * gate * hiss[0] + 0.04 * murmur * hiss[1]
  soft = condition.grade("worn seat", -27.0, -13.0)
  for at, first, force in ((opened, 44, 1.0), (closed, 48, 0.8)):
    at = at[(at > 0) & (at < samples)]
    blow = force * rng.uniform(0.85, 1.15, len(at))
    for mode in range(3):
      hz = (700, 1900, 4200)[mode] * (0.85 + 0.3 * unit[first + mode])
      ring = resonance(hz * (1 - 0.2 * soft), (0.006, 0.004, 0.002)[mode])
      scale = (1.0, 0.8, 0.6 * (1 - 0.8 * soft))[mode]
      strike(wave, at, scale * blow, ring)
      if stuck:  # bounces
        bounce = at + rng.integers(200, 500, len(at))
        strike(wave, bounce, scale * stuck * blow, ring)
  return unit_rms(wave)


def _valve_bands(unit: np.ndarray) -> tuple[Band, Band]:
  return (3000 + 1800 * unit[40], 2.5, 0.0), (300 + 200 * unit[41], 3.0, -3.0)


def _slider(
  rng: np.random.Generator,
  unit: np.ndarray,
  condition: Condition,
  hiss: np.ndarray,
) -> np.ndarray:
  """A carriage to and fro: belt tone and friction follow its speed."""
  strokes = (0.85 + 0.2 * unit[8]) * rng.uniform(0.94, 1.06)
  cycle = _turns(rng, hiss.shape[1], strokes)
  place = _cosine(cycle)  # 1 to -1 and back
  speed = np.abs(_cosine(cycle, 0.25))
  belt = (130 + 60 * unit[9]) / strokes / 2  # teeth a unit of path
  tone = series(
    (1 + place) * belt, _timbre(unit, 16, 6, 0.7) * _jitter(rng, 6), unit[24:30]
  )
  dry = condition.grade("dry rail", -12.0, 1.0)
  friction, motor = _jitter(rng, 2)
  wave = 0.35 * speed * tone
  wave += (0.8 + dry) * friction * speed * np.sqrt(speed) * hiss[0]
  wave += 0.25 * motor * hiss[1]
  if dry:  # squeals when fast
    squeal = _cosine(cycle * ((2300 + 500 * unit[36]) / strokes))
    wave += 0.5 * dry * np.square(speed) * squeal
  turn = _passings(cycle, 2.0)
  thump = resonance(180 + 80 * unit[37], 0.02)
  strike(wave, turn, rng.uniform(1.5, 2.2, len(turn)), thump)
  slack = condition.grade("loose belt", -8.0, 7.0)
  if slack:  # rattles after every turn
    at = (turn[:, None] + rng.integers(150, 2500, (len(turn), 7))).ravel()
    strike(
      wave, at, slack * rng.uniform(0.3, 1.0, len(at)), resonance(1500, 0.004)
    )
  force = condition.grade("rail damage", 4.0, 16.0)
  if force:  # a tick wherever the carriage passes the dent
    at = np.flatnonzero(np.diff(place > 0.5 - unit[38]))
    strike(
      wave, at, force * rng.uniform(0.8, 1.2, len(at)), resonance(900, 0.006)
    )
  return unit_rms(wave)


def _slider_bands(unit: np.ndarray) -> tuple[Band, Band]:
  return (1000 + 500 * unit[40], 3.5, -2.0), (200 + 150 * unit[41], 3.0, -3.0)


_SPEEDS = ("spd_1", "spd_2", "spd_3")
_FROM_A = ("pro_A", "pro_B", "pro_C", "pro_D", "pro_E", "pro_F")
_FROM_X = ("pro_X", "pro_Y", "pro_Z")
_FAN = ("imbalance", "bearing", "clogging")
_GEARBOX = ("tooth", "wear", "bearing")
_VALVE = ("leak", "sticking", "worn seat")
_SLIDER = ("rail damage", "dry rail", "loose belt")

MACHINES = {
  "fan": Machine(_fan, _fan_bands, _SPEEDS, _SPEEDS, _FAN, (-3.0, 7.0)),
  "valve": Machine(_valve, _valve_bands, (), (), _VALVE, (-5.0, 5.0)),
  "gearbox": Machine(
    _gearbox, _gearbox_bands, _FROM_A, _FROM_X, _GEARBOX, (-4.0, 6.0)
  ),
  "slider": Machine(_slider, _slider_bands, (), (), _SLIDER, (-5.0, 5.0)),
}
