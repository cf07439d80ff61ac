"""QUT-NOISE: ten places, each recorded twice, 48 kHz, stereo [Dean10].

    QUT-NOISE/QUT-NOISE/<LOCATION>-<SESSION>.wav
    QUT-NOISE/QUT-NOISE/labels/<LOCATION>-<SESSION>.lab.txt

in `qutnoisecafe.zip` and so on, which once were called `QUT-NOISE*.zip`. All
of it is for training. Labels (start, end in seconds, text) bound the main part
(`start`, `finish`) and name what failed (`bad`); around it lie silence and, in
cars and reverberant places, sweeps.
"""

import pathlib
from collections.abc import Sequence

from asd_jax import errors
from asd_jax.data.corpora import base, files

ARCHIVE = r"qutnoise\w*"
RECORDINGS = tuple(
  f"{place}-{session}"
  for place in (
    *("CAFE-FOODCOURTB", "CAFE-CAFE", "HOME-KITCHEN", "HOME-LIVINGB"),
    *("STREET-CITY", "STREET-KG", "CAR-WINDOWNB", "CAR-WINUPB"),
    *("REVERB-POOL", "REVERB-CARPARK"),
  )
  for session in (1, 2)
)
_RULE = base.Rule((48_000,), 2)
_Spans = tuple[tuple[int, int], ...]


def read(
  root: pathlib.Path,
  *,
  splits: Sequence[str] = ("train",),
  strict: bool = False,
  main_only: bool = False,
) -> base.Corpus:
  """Finds the recordings below a folder.

  Those of 60 s or less are left out.

  Args:
    root: folder with archives, or with what was in them.
    splits: only "train" has recordings.
    strict: refuse any gap.
    main_only: take the main parts without what failed. Each stretch of more
      than 60 s is then a recording of its own, named after the second in which
      it begins. By default labels are not used, as in [MERL26].

  Raises:
    InputError: no recording, files that cannot be read, or no labels where
      they are used.
  """
  if set(splits) != {"train"}:
    raise errors.InputError(
      f"splits: found {', '.join(splits)}, expected train, the only one of "
      "QUT-NOISE"
    )
  listing = files.listed(root, ARCHIVE)
  by_name = base.first_of(listing, lambda p: p.name.casefold())
  clips = {n: by_name.get(f"{n}.wav".casefold()) for n in RECORDINGS}
  stored = {n: file for n, file in clips.items() if file is not None}
  found, remarks = [], []
  all_headers = base.headers(stored.values(), _RULE)
  for (name, file), header in zip(stored.items(), all_headers, strict=True):
    labels = by_name.get(f"{name}.lab.txt".casefold())
    main = _main(labels, header.sample_rate) if labels else None
    if main_only and main is None:
      raise errors.InputError(
        f"{root}: found no {name}.lab.txt, expected labels (in qutnoise.zip), "
        "since only main parts are asked for"
      )
    whole = base.Recording(name, "train", file, header, (1, 2), main=main)
    used = _stretches(whole) if main_only else [whole]
    used = [r for r in used if _is_long(r)]
    if not used:
      remarks.append(f"{name} has no more than {base.MIN_SECONDS} s to use")
    found += used
  lost = [name for name, file in clips.items() if file is None]
  missing = (f"{', '.join(lost)}: missing",) if lost else ()
  counts = {"recordings": (len(stored), len(RECORDINGS))}
  corpus = base.Corpus(
    "qut_noise", tuple(found), counts, missing, tuple(remarks), ()
  )
  return base.checked(corpus, listing, root, splits=splits, strict=strict)


def _is_long(recording: base.Recording) -> bool:
  header = recording.header
  if recording.only is not None:
    start, stop = recording.only
    header = header._replace(num_samples=stop - start)
  return base.long_enough(header)


def _stretches(whole: base.Recording) -> list[base.Recording]:
  """Its main part, as recordings of their own."""
  rate = whole.header.sample_rate
  result = []
  for start, stop in whole.main or ():
    stop = min(stop, whole.header.num_samples)
    part = base.Recording(
      f"{whole.name}@{start / rate:07.1f}s",
      whole.split,
      whole.file,
      whole.header,
      whole.channels,
      main=((0, max(stop - start, 0)),),
      only=(start, stop),
    )
    if stop > start:
      result.append(part)
  return result


def _main(file: files.Stored, rate: int) -> _Spans | None:
  """Stretches of the main part without what failed, in samples.

  Returns:
    `(start, stop)` of each; None if the labels do not bound it.

  Raises:
    InputError: a line that is no label.
  """
  first, last, bad = None, None, []
  text = files.content(file).decode("utf-8", "replace")
  for number, line in enumerate(text.splitlines(), start=1):
    if not line.strip():
      continue
    try:
      start, end, *words = line.split()
      place = int(float(start) * rate), int(float(end) * rate)
    except (ValueError, OverflowError) as error:
      raise errors.InputError(
        f"{files.title(file)}: found line {number} {line!r}, expected start, "
        "end and text"
      ) from error
    label = " ".join(words).casefold()
    if label == "start":
      first = place[1]
    elif label == "finish":
      last = place[0]
    elif "bad" in label:
      bad.append(place)
  if first is None or last is None:
    return None
  spans = []
  for start, stop in sorted(bad):
    if start > first:
      spans.append((first, min(start, last)))
    first = max(first, stop)
  spans.append((first, last))
  return tuple((a, b) for a, b in spans if b > a)
