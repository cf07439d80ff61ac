"""Cards of suspicious clips: pictures, sound and the reason in words."""

import base64
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import soundfile

from asd_jax.report import listing, record, spectrogram, text, words
from asd_jax.scores import threshold

TITLE = "Highest scores"
AUDIO_SECONDS = 10.0
# All sounds of a page together: a page of 10 MB still opens on a phone.
_AUDIO_BYTES = 4_000_000
# Of 16-bit samples in base64, as the lossless code leaves noise.
_BYTES_A_SAMPLE = 2 * 0.8 * 4 / 3
# A part that makes less of the excess than this is not worth a word.
_MIN_SHARE = 0.1
# Machines are often recorded far below full scale, too soft to hear.
_PEAK = 0.7

METHOD = (
  "Every tenth of the clip and every one of twelve frequency bands is replaced,"
  " in all channels, by the same part of its nearest normal training clips;"
  " filled bars show how far the score falls without that part, outlined bars"
  " how far it rises, and per cent are of the score above the median training"
  " score. Colours are levels below the loudest point of both clips; louder and"
  " softer compare the near channels of the two."
)


class _Heard(NamedTuple):
  """What the sounds of a card share.

  Attributes:
    rate: Hz.
    start: of what can be heard, s.
    seconds: how much of it, at most.
    gain: factor of all samples.
  """

  rate: int
  start: float
  seconds: float
  gain: float


def _start_seconds(
  reason: record.Reason | None, length: float, seconds: float
) -> float:
  """Where the sound starts: a long clip is cut around its oddest segment."""
  if reason is None or length <= seconds:
    return 0.0
  # The middle of the oddest segment becomes the middle of what is heard.
  i = int(np.argmax(reason.time))
  middle = float(np.mean(reason.seconds[i : i + 2]))
  return float(np.clip(middle - seconds / 2, 0, length - seconds))


def sound_uri(wave: np.ndarray, rate: int) -> str:
  """One channel `[S]` in [-1, 1] as 16-bit FLAC in a data URI."""
  out = io.BytesIO()
  soundfile.write(out, wave, rate, format="FLAC", subtype="PCM_16")
  return "data:audio/flac;base64," + base64.b64encode(out.getvalue()).decode()


def _heard(
  sounds: Sequence[record.Sound], suspect: record.Suspect, seconds: float
) -> tuple[_Heard, str]:
  """How the sounds of a card are cut and raised, and that in words."""
  length = sounds[0].wave.shape[1] / suspect.rate
  start = _start_seconds(suspect.reason, length, seconds)
  # One gain for all: loudness may itself be the fault.
  peak = max(float(np.max(np.abs(s.wave))) for s in sounds)
  gain = _PEAK / peak if peak > 0 else 1.0
  remarks = []
  if length > seconds:
    remarks.append(f"{start:.1f} to {start + seconds:.1f} s")
  # Below 1 dB nobody hears a difference.
  if abs(20 * np.log10(gain)) >= 1:
    raised = f"{20 * np.log10(gain):+.0f} dB".replace("-", "&minus;")
    remarks.append(f"level {raised}" + ", all alike" * (len(sounds) > 1))
  return _Heard(suspect.rate, start, seconds, gain), "; ".join(remarks)


def _player(title: str, name: str, wave: np.ndarray, how: _Heard) -> str:
  """An audio player of one channel `[S]`, loud enough to hear."""
  head = f'<div class="player"><span>{title}</span>'
  if spectrogram.is_silent(wave):
    return f"{head}<span>no signal</span></div>"
  first = int(how.start * how.rate)
  # A normal clip may be shorter than where the other is odd.
  if first >= len(wave):
    first = 0
  part = wave[first:][: int(how.seconds * how.rate)]
  uri = sound_uri(np.clip(part * how.gain, -1, 1), how.rate)
  return (
    f'{head}<audio controls preload="none" aria-label="{title} sound of'
    f' {text.escape(name)}" src="{uri}"></audio></div>'
  )


def _side(title: str, sound: record.Sound, picture: str, how: _Heard) -> str:
  """One of the two clips of a card: to see and to hear."""
  names = ("near", "far") if len(sound.wave) > 1 else ("sound",)
  players = "".join(
    _player(channel, sound.name, wave, how)
    for channel, wave in zip(names, sound.wave, strict=False)
  )
  link = listing.listen(sound.link, sound.name)
  link = f" ({link} the file)" if link else ""
  return (
    f"<figure><figcaption>{title}{link}</figcaption>{picture}{players}</figure>"
  )


def _sides(
  suspect: record.Suspect,
  sounds: Sequence[record.Sound],
  drawn: tuple[spectrogram.Scale, list[Any]],
  seconds: float,
) -> str:
  """The clip and, beside it, its nearest normal clip."""
  scale, spectra = drawn
  titles = ["<b>This clip</b>"]
  titles += [
    '<b>Nearest normal clip</b> <span class="file">'
    f"{text.escape(sound.name)}</span>"
    for sound in sounds[1:]
  ]
  how, remarks = _heard(sounds, suspect, seconds)
  excess = suspect.score - suspect.typical
  told: list[dict[str, Any]] = [
    dict(reason=suspect.reason, unit=excess if excess > 0 else None), {},
  ]  # fmt: skip
  inside = "".join(
    _side(title, sound, spectrogram.clip(sound, own, scale, **more), how)
    for title, sound, own, more in zip(
      titles, sounds, spectra, told, strict=False
    )
  )
  foot = f"<small>Sounds: {remarks}.</small>" if remarks else ""
  return f'<div class="pair">{inside}</div>{foot}'


def _top(
  edges: np.ndarray, drop: np.ndarray, excess: float
) -> list[tuple[float, float, float]]:
  """The parts that count most: low edge, high edge, share of the excess."""
  # Of what stands out, not of the score: scores of different systems start at
  # any number.
  share = drop / excess
  order = [int(i) for i in np.argsort(-share)[:3] if share[i] >= _MIN_SHARE]
  return [(edges[i], edges[i + 1], float(share[i])) for i in order]


def _louder(
  sounds: Sequence[record.Sound],
  drawn: tuple[spectrogram.Scale, list[Any]],
  band: tuple[float, float],
) -> str:
  """How much louder a band is than in the nearest normal clip."""
  scale, spectra = drawn
  if len(sounds) < 2 or any(spectrogram.is_silent(s.wave[0]) for s in sounds):
    return ""
  here, there = (
    spectrogram.band_level(own[0], scale.rate, *band) for own in spectra
  )
  gap = round(here - there)
  return f", {abs(gap)}&nbsp;dB {'louder' if gap > 0 else 'softer'}" * bool(gap)


def _reason_items(
  suspect: record.Suspect,
  sounds: Sequence[record.Sound],
  drawn: tuple[spectrogram.Scale, list[Any]],
) -> list[str]:
  reason, excess = suspect.reason, suspect.score - suspect.typical
  if reason is None:
    return []
  if all(spectrogram.is_silent(wave) for wave in sounds[0].wave):
    return ["No signal: all samples of the recording are equal."]
  # Shares of nothing would be noise.
  if excess <= 0:
    return ["The score is not above the median of the training scores."]
  bands = [
    f"<b>{text.hertz(a)} to {text.hertz(b)}</b> ({100 * s:.0f}&nbsp;%"
    f"{_louder(sounds, drawn, (a, b))})"
    for a, b, s in _top(reason.hertz, reason.band, excess)
  ]
  spans = [
    f"<b>{a:.1f} to {b:.1f} s</b> ({100 * s:.0f}&nbsp;%)"
    for a, b, s in _top(reason.seconds, reason.time, excess)
  ]
  where = ", ".join(bands) or "no single band; all change it a little"
  # Equal segments each hold a tenth: twice that stands out.
  if np.max(reason.time) < 2 * max(np.mean(reason.time), 0):
    spans = []
  when = ", ".join(spans) or "spread over the clip"
  return [f"Where: {where}", f"When: {when}"]


def _neighbour_item(suspect: record.Suspect) -> list[str]:
  # A bank knows its nearest rows; other systems are compared by spectrum.
  if suspect.neighbours:
    names = ", ".join(
      f"<span class=file>{text.escape(n)}</span> ({text.number(s)})"
      for n, s in suspect.neighbours
    )
    return [f"Nearest normal clips, with the score against each alone: {names}"]
  if suspect.references:
    names = ", ".join(
      f"<span class=file>{text.escape(n)}</span>" for n in suspect.references
    )
    return [f"Normal clips of nearest spectrum: {names}"]
  return []


def _facts(suspect: record.Suspect, how: record.Decision) -> str:
  look = ' class="alarm"' * (suspect.decision == threshold.ANOMALOUS)
  facts = [f"<b{look}>{words.decision(suspect.decision)}</b>"]
  if suspect.p_value is not None:
    counted = words.higher(suspect.p_value, how)
    p = f"p&nbsp;=&nbsp;{words.p_value(suspect.p_value)}"
    facts.append(f"{counted} ({p})" if counted else p)
  else:
    share = f"{100 * suspect.share_below:.0f}&nbsp;%"
    facts.append(f"above {share} of the training clips")
  facts.append(f"score {text.number(suspect.score)}")
  # On labelled data the truth belongs beside the decision.
  known = [suspect.domain, suspect.label]
  label = ", ".join(k for k in known if k)
  facts += [f"truth: {label}"] if label else []
  return "".join(f"<li>{f}</li>" for f in facts)


def card(
  suspect: record.Suspect,
  how: record.Decision,
  *,
  seconds: float,
  heading: str,
  name: str,
) -> str:
  """One clip as HTML.

  Args:
    suspect: the clip.
    how: how its section's clips are decided.
    seconds: how much of each sound to put in, at most.
    heading: what stands before the file name, HTML.
    name: id of the card.

  Returns:
    HTML.
  """
  file = text.escape(suspect.name)
  sounds = [s for s in (suspect.sound, suspect.normal) if s is not None]
  items, sides = _neighbour_item(suspect), ""
  if suspect.sound is not None:
    drawn = spectrogram.scale_of([s.wave for s in sounds], suspect.rate)
    items = _reason_items(suspect, sounds, drawn) + items
    sides = _sides(suspect, sounds, drawn, seconds)
  reasons = "".join(f"<li>{i}</li>" for i in items)
  reasons = f'<ul class="why">{reasons}</ul>' if reasons else ""
  place = f", {suspect.place}" if suspect.place else ""
  problem = f"<p>{text.escape(suspect.problem)}</p>" if suspect.problem else ""
  return (
    f'<article class="clip" id="{name}"><h3>{heading}<span class="file">{file}'
    f'</span>{place}</h3><ul class="facts">{_facts(suspect, how)}</ul>{problem}'
    f"{reasons}{sides}</article>\n"
  )


def _sound_seconds(suspects: Sequence[record.Suspect]) -> float:
  """How much of each clip can be heard, so that the page stays small."""
  # Each second of all channels of all sounds.
  rates = [
    s.rate * _BYTES_A_SAMPLE * len(sound.wave)
    for s in suspects
    for sound in (s.sound, s.normal)
    if sound is not None
  ]
  return min(AUDIO_SECONDS, _AUDIO_BYTES / max(sum(rates), 1.0))


def _which(run: record.Run) -> str:
  """Which clips have cards, in a sentence."""
  num, nearest = len(run.suspects), "beside the normal clip that is nearest"
  if run.num_clips == 1:
    return f"The only test clip, {nearest} to it."
  if num == 1:
    return f"The clip with the highest score, {nearest} to it."
  if len({s.machine for s in run.suspects}) == 1:
    return f"The {num} clips with the highest scores, each {nearest} to it."
  return (
    f"The {num} clips whose scores are highest for their machine, machine by"
    f" machine, each {nearest} to it."
  )


def _called(run: record.Run) -> str:
  """How many are called anomalous, where the cards alone would not say it."""
  if not any(how.possible for *_, how in record.decisions_of(run.results)):
    return ""
  every = [part for parts in run.sections.values() for part in parts.values()]
  flags = [part.decision == threshold.ANOMALOUS for part in every]
  alarms = sum(int(flag.sum()) for flag in flags)
  shown = sum(s.decision == threshold.ANOMALOUS for s in run.suspects)
  if not alarms:
    if run.num_clips == 1:
      return " It is called normal."
    return " No clip is called anomalous."
  if shown == alarms:
    return ""
  return (
    f" Of the {alarms} clips called anomalous {shown}"
    f" {'is' if shown == 1 else 'are'} shown; the others are in the table of"
    ' <a href="#all">all clips</a>.'
  )


def _lead(run: record.Run) -> str:
  lead = f"<p>{_which(run)}{_called(run)}</p>"
  if any(s.reason is not None for s in run.suspects):
    # Once read, it stands in the way.
    head = "How to read the pictures"
    lead += f"<details><summary>{head}</summary><p>{METHOD}</p></details>"
  return lead


def section(run: record.Run) -> str:
  """All cards with the method.

  Args:
    run: the run.

  Returns:
    HTML, "" without suspects.
  """
  suspects = run.suspects
  if not suspects:
    return ""
  alone = run.num_clips == 1
  title = "The clip" if alone else "Clips with the highest scores"
  several = len({s.section for s in suspects}) > 1
  # One limit for all cards: they are meant to be compared.
  limit = _sound_seconds(suspects)
  parts = []
  for suspect in suspects:
    heading = text.escape(suspect.machine)
    heading += f" section {text.escape(suspect.section)}" * several
    heading = f'<span class="machine">{heading}</span> '
    how = record.decision_of(run.results, suspect.machine, suspect.section)
    name = listing.card_id(suspect, suspects)
    parts.append(card(suspect, how, seconds=limit, heading=heading, name=name))
  return (
    f'<section id="clips"><h2>{title}</h2>'
    f"{_lead(run)}\n{''.join(parts)}</section>"
  )
