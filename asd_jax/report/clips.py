"""Cards of suspicious clips: pictures, sound and the reason in words."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import soundfile

from asd_jax.report import record, spectrogram, text

TITLE = "Suspicious clips"
AUDIO_SECONDS = 10.0
# All sounds of a page together: a page of 10 MB still opens on a phone.
_AUDIO_BYTES = 3_400_000
# A part that makes less of the excess than this is not worth a word.
_MIN_SHARE = 0.1
# Machines are often recorded far below full scale, too soft to hear.
_PEAK = 0.7

METHOD = (
  "Every tenth of the clip and every one of twelve frequency bands is replaced,"
  " in all channels, by the same part of its nearest normal training clips;"
  " filled bars show how far the score falls without that part, outlined bars"
  " how far it rises, and per cent are of the score above the median training"
  " score."
)


def _start_seconds(
  suspect: record.Suspect, length: float, seconds: float
) -> float:
  """Where the sound starts: a long clip is cut around its oddest segment."""
  if suspect.reason is None or length <= seconds:
    return 0.0
  # The middle of the oddest segment becomes the middle of what is heard.
  i = int(np.argmax(suspect.reason.time))
  middle = float(np.mean(suspect.reason.seconds[i : i + 2]))
  return float(np.clip(middle - seconds / 2, 0, length - seconds))


def wav_uri(wave: np.ndarray, rate: int) -> str:
  """One channel `[S]` as a 16-bit wav in a data URI."""
  out = io.BytesIO()
  soundfile.write(out, wave, rate, format="WAV", subtype="PCM_16")
  return "data:audio/wav;base64," + base64.b64encode(out.getvalue()).decode()


def _player(suspect: record.Suspect, wave: np.ndarray, seconds: float) -> str:
  """An audio player of the near channel, loud enough to hear."""
  near, rate = wave[0], suspect.rate
  start = _start_seconds(suspect, len(near) / rate, seconds)
  part = near[int(start * rate) :][: int(seconds * rate)]
  # The gain is told beside the player: loudness may itself be the fault.
  peak = float(np.max(np.abs(part)))
  gain = _PEAK / peak if peak > 0 else 1.0
  remarks = ["near channel"] if len(wave) > 1 else []
  if len(part) < len(near):
    end = start + len(part) / rate
    remarks.append(f"{start:.1f} to {end:.1f} s")
  # Below 1 dB nobody hears a difference.
  if abs(20 * np.log10(gain)) >= 1:
    remarks.append(
      f"level {20 * np.log10(gain):+.0f} dB".replace("-", "&minus;")
    )
  name = text.escape(suspect.name)
  return (
    f'<div class="player"><audio controls preload="none" aria-label="Sound of'
    f' {name}" src="{wav_uri(np.clip(part * gain, -1, 1), rate)}"></audio>'
    f"<small>{', '.join(remarks)}</small></div>"
  )


def _top(
  edges: np.ndarray, drop: np.ndarray, excess: float
) -> list[tuple[float, float, float]]:
  """The parts that count most: low edge, high edge, share of the excess."""
  # Of what stands out, not of the score: scores of different systems start at
  # any number.
  share = drop / excess
  order = [int(i) for i in np.argsort(-share)[:3] if share[i] >= _MIN_SHARE]
  return [(edges[i], edges[i + 1], float(share[i])) for i in order]


def _reason_items(suspect: record.Suspect) -> list[str]:
  reason, excess = suspect.reason, suspect.score - suspect.typical
  if reason is None:
    return []
  # Shares of nothing would be noise.
  if excess <= 0:
    return ["The score is not above that of a typical training clip."]
  bands = [
    f"<b>{text.hertz(a)} to {text.hertz(b)}</b> ({100 * s:.0f}&nbsp;%)"
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


def _facts(suspect: record.Suspect) -> str:
  decision = "suspicious" if suspect.score > suspect.threshold else "accepted"
  facts = [
    f"score <b>{text.number(suspect.score)}</b>",
    f"threshold {text.number(suspect.threshold)}: <b>{decision}</b>",
    f"above {100 * suspect.share_below:.0f}&nbsp;% of the training clips",
  ]
  # On labelled data the truth belongs beside the decision.
  known = [suspect.domain, suspect.label]
  label = ", ".join(k for k in known if k)
  facts.append(f"truth: {label}" if label else "no label")
  return "".join(f"<li>{f}</li>" for f in facts)


def card(suspect: record.Suspect, *, seconds: float, heading: str) -> str:
  """One clip as HTML.

  Args:
    suspect: the clip.
    seconds: how much of the sound to put in, at most.
    heading: what stands before the file name, HTML.

  Returns:
    HTML.
  """
  name = text.escape(suspect.name)
  picture = player = ""
  if suspect.wave is not None:
    picture = spectrogram.clip(
      suspect.wave, suspect.rate, suspect.reason, suspect.name
    )
    picture = f"<figure>{picture}</figure>"
    player = _player(suspect, suspect.wave, seconds)
  items = [*_reason_items(suspect), *_neighbour_item(suspect)]
  reasons = "".join(f"<li>{i}</li>" for i in items)
  reasons = f'<ul class="why">{reasons}</ul>' if reasons else ""
  problem = f"<p>{text.escape(suspect.problem)}</p>" if suspect.problem else ""
  return (
    f'<article class="clip"><h3>{heading}<span class="file">{name}</span></h3>'
    f'<ul class="facts">{_facts(suspect)}</ul>{problem}{reasons}'
    f"{picture}{player}</article>\n"
  )


def _sound_seconds(suspects: Sequence[record.Suspect]) -> float:
  """How much of each clip can be heard, so that the page stays small."""
  base64_bytes = 2 * 4 / 3
  rates = [s.rate * base64_bytes for s in suspects if s.wave is not None]
  return min(AUDIO_SECONDS, _AUDIO_BYTES / max(sum(rates), 1.0))


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
  several = len({s.section for s in suspects}) > 1
  # One limit for all cards: they are meant to be compared.
  limit = _sound_seconds(suspects)
  parts = []
  for suspect in suspects:
    heading = text.escape(suspect.machine)
    heading += f" section {text.escape(suspect.section)}" * several
    heading = f'<span class="machine">{heading}</span> '
    parts.append(card(suspect, seconds=limit, heading=heading))
  left_out = run.num_clips - len(suspects)
  lines = [f"The {text.plural(len(suspects), 'clip')} that stand out most from"
           " the training scores, machine by machine."]  # fmt: skip
  if left_out > 0:
    lines.append(f"The other {left_out} are in <code>scores/</code>.")
  if any(s.reason is not None for s in suspects):
    lines.append(METHOD)
  return (
    '<section id="clips"><h2>Most suspicious clips</h2>'
    f"<p>{' '.join(lines)}</p>\n{''.join(parts)}</section>"
  )
