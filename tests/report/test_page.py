import html.parser
import math
import time
import types

import numpy as np
import pytest

from asd_jax.metrics import decisions, official
from asd_jax.report import page as report_page
from asd_jax.report import published, record, spectrogram, summary

VOID = {"meta", "link", "br", "hr", "img", "input"}
ODD = "<script>alert('ü')<i>\udcff\u202e\"&.wav"
LABELS = ("normal", "anomaly")


class Reader(html.parser.HTMLParser):
  """Checks nesting and gathers ids, tags and what the page points to."""

  def __init__(self):
    super().__init__()
    self.stack, self.ids, self.tags, self.urls = [], [], [], []

  def handle_starttag(self, tag, attrs):
    self.handle_startendtag(tag, attrs)
    if tag not in VOID:
      self.stack.append(tag)

  def handle_startendtag(self, tag, attrs):
    attrs = dict(attrs)
    self.tags.append(tag)
    self.ids += [attrs["id"]] if "id" in attrs else []
    self.urls += [attrs[k] for k in ("href", "src", "xlink:href") if k in attrs]

  def handle_endtag(self, tag):
    assert self.stack.pop() == tag


def section(num=8, *, labelled=True, domains=True, threshold=1.0, seed=0):
  """Scores of made-up clips, by a threshold or (None) by p-values."""
  rng = np.random.default_rng(seed)
  score, train = rng.normal(size=num), rng.normal(size=12)
  p_value = (1 + (train >= score[:, None]).sum(axis=1)) / (len(train) + 1)
  if threshold is not None:
    decision, p_value = score > threshold, np.full(num, np.nan)
  else:
    decision = p_value <= 0.1
  return record.Section(
    score=score,
    is_anomaly=np.arange(num) % 2 == 1 if labelled else None,
    is_target=np.arange(num) // 2 % 2 == 1 if domains else None,
    train=train,
    train_kind="by models that had not heard them",
    threshold=math.inf if threshold is None else threshold,
    decision=decision.astype(int),
    p_value=p_value,
    names=[f"{i}.wav" for i in range(num)],
    links=[f"../{i}.wav" for i in range(num)],
  )


def undecided(num=8):
  """Clips for whose decision there are too few normal ones."""
  made = section(num, labelled=False, domains=False)
  return made._replace(
    train=made.train[:6], threshold=math.inf, decision=np.full(num, -1)
  )


def decision_of(part):
  num, rule = len(part.train), "conformal"
  return record.Decision(
    "quantile" if math.isfinite(part.threshold) else rule, 0.1, False, 10,
    num, 9, num >= 9,
    "" if num >= 9 else f"{num} normal clips, 9 needed for 0.1",
  )  # fmt: skip


def entry_of(part):
  metrics = official.clip_metrics(part.score, part.is_anomaly, part.is_target)
  limit, alarm = part.threshold, part.decision == 1
  how = decision_of(part)
  rates = {}
  if len(part.score) and part.is_anomaly is not None:
    rates = decisions.measured(alarm, part.is_anomaly, part.is_target)
  return {
    **metrics,
    "n_train": len(part.train),
    "n_test": len(part.score),
    "threshold": limit if math.isfinite(limit) else None,
    "num_anomalous": int(alarm.sum()),
    "flagged": [
      {"file": part.names[i], "score": float(part.score[i]),
       "p_value": None if np.isnan(part.p_value[i]) else
       float(part.p_value[i])}
      for i in np.flatnonzero(alarm)
    ],
    "decision": how._asdict(),
    "measured": rates,
    "training_scores": {"a": "loo"},
    "bootstrap": None,
  }  # fmt: skip


def suspects_of(sections, name="{}.wav"):
  """The first clip of every section, as if it stood out."""
  return [
    record.Suspect(machine, number, name.format(0), "source", None,
                   float(part.score[0]), int(part.decision[0]), None, 0.1, 0.5)
    for machine, parts in sections.items()
    for number, part in parts.items()
    if len(part.score)
  ]  # fmt: skip


def run_of(sections, *, suspects=(), **kwargs):
  return record.Run(results_of(sections, **kwargs), sections, suspects)


def results_of(sections, *, seeds=1, notes=(), **more):
  machines = {}
  for name, parts in sections.items():
    entries = {s: entry_of(p) for s, p in parts.items()}
    found = list(entries.values())
    machines[name] = {
      **{k: official.official_score([e[k] for e in found]) for k in
         official.RANKED},
      "score": official.machine_score(found),
      "n_train": sum(e["n_train"] for e in found),
      "n_test": sum(e["n_test"] for e in found),
      "sections": entries,
    }  # fmt: skip
  every = [e["measured"] for m in machines.values()
           for e in m["sections"].values() if e["n_test"]]  # fmt: skip
  total = official.official_score([m["score"] for m in machines.values()])
  per_seed = [
    {
      "seed": k,
      "official_score": total and total - 0.01 * k,
      "machines": {n: {"score": m["score"]} for n, m in machines.items()},
    }
    for k in range(seeds)
  ]
  return {
    "system": "a <b> system",
    "config": {"threshold": {"name": "conformal", "false_alarm_rate": 0.1}},
    "seeds": list(range(seeds)),
    "machines": machines,
    "official_score": total,
    "measured": decisions.pooled(every) if all(every) else {},
    "per_seed": per_seed,
    "seed_summary": {"mean": total, "std": 0.01} if total else None,
    "published": {"development": 0.5766, "evaluation": 0.0, "source": "[X26]"},
    "notes": list(notes),
    "run": {"seconds": 1.0, "device": "cpu", "versions": {"jax": "0"}},
    **more,
  }


def checked(page):
  """The page's reader, after the checks that every page must pass."""
  assert len(page.encode()) < 10_000_000
  reader = Reader()
  reader.feed(page)
  reader.close()
  assert not reader.stack
  assert len(set(reader.ids)) == len(reader.ids)
  for url in reader.urls:
    # Links to recordings are relative: they lead to nobody else's machine.
    assert url.startswith(("#", "data:", "../")), url[:80]
    assert not url.startswith("#") or url[1:] in reader.ids, url
  assert "script" not in reader.tags
  return reader


RUNS = {
  "usual": {"fan": {"00": section()}, "valve": {"00": section(seed=1)}},
  "sections": {"fan": {"00": section(), "01": section(seed=1)}},
  "unlabelled": {"fan": {"00": section(labelled=False, domains=False)}},
  "no domains": {"fan": {"00": section(domains=False)}},
  "no test clips": {"fan": {"00": section(0)}},
  "one clip": {"fan": {"00": section(1, labelled=False, domains=False)}},
  "one labelled clip": {"fan": {"00": section(1)}},
  "by p-value": {"fan": {"00": section(threshold=None)}},
  "undecided": {"fan": {"00": undecided()}},
  "odd names": {"<i>ü$_$": {"00": section()}},
}


@pytest.mark.parametrize("name", RUNS)
def test_any_run_makes_a_whole_page(name):
  sections = RUNS[name]
  run = run_of(
    sections,
    suspects=suspects_of(sections, "{}" + ODD),
    seeds=1 + len(name) % 2,
    notes=[f"{ODD}: channel 0 is silent"],
  )
  reader = checked(report_page.page(run))
  assert {"main", "nav", "h1", "table", "caption"} <= set(reader.tags)
  assert {"notes", "run"} <= set(reader.ids)
  # One machine without labels: the tiles say what the table would.
  alone = name in ("unlabelled", "one clip", "undecided")
  assert ("machines" in reader.ids) != alone


def test_nothing_at_all_makes_a_page():
  empty = run_of({}, seeds=0)
  checked(report_page.page(empty))
  unknown = {**empty.results, "published": None}
  checked(report_page.page(empty._replace(results=unknown)))


def test_a_new_section_is_a_module_in_the_list(monkeypatch):
  run = run_of(RUNS["usual"])
  made = types.SimpleNamespace(
    TITLE="Made up",
    section=lambda run: (
      f'<section id="made"><h2>Made</h2>{run.num_clips} clips</section>'
    ),
  )
  silent = types.SimpleNamespace(TITLE="Silent", section=lambda run: "")
  several = (*report_page.SECTIONS, made, silent)
  monkeypatch.setattr(report_page, "SECTIONS", several)
  page = report_page.page(run)
  checked(page)
  assert '<li><a href="#made">Made up</a></li>' in page
  assert "16 clips</section>" in page
  assert "Silent" not in page


def test_no_file_name_reaches_the_page_unescaped():
  sections = RUNS["odd names"]
  suspects = suspects_of(sections, "{}" + ODD)
  page = report_page.page(
    run_of(sections, suspects=suspects, seeds=2, notes=[ODD])
  )
  assert "<script" not in page
  assert "<i>" not in page
  assert "\u202e" not in page
  assert "\\udcff" in page
  assert "&lt;script&gt;alert(&#x27;ü&#x27;)&lt;i&gt;" in page


def test_a_clip_card_has_spectrograms_sound_and_reason():
  rng = np.random.default_rng(0)
  sections = {"fan": {"00": section()}}
  (suspect,) = suspects_of(sections, "{}" + ODD)
  time_drop, band_drop = np.zeros(10), np.zeros(12)
  time_drop[3], band_drop[7] = 0.5, 0.9
  noise = rng.normal(size=(2, 40_000)).astype(np.float32) / 10
  suspect = suspect._replace(
    sound=record.Sound(ODD, "../x.wav", noise),
    normal=record.Sound(ODD, "", np.stack([noise[0] / 2, 0 * noise[1]])),
    score=2.0,
    typical=1.0,
    reason=record.Reason(
      np.linspace(0, 2.5, 11), time_drop, np.linspace(0, 8000, 13), band_drop
    ),
    neighbours=((ODD, 1.5),),
    references=(ODD,),
  )
  page = report_page.page(run_of(sections, suspects=[suspect]))
  reader = checked(page)
  assert "audio" in reader.tags
  assert "image" in reader.tags
  # Near and far of the clip, and near of its neighbour, whose far is silent.
  assert reader.tags.count("audio") == 3
  assert page.count("no signal") == 2
  assert "<b>0.8 to 1.0 s</b> (50&nbsp;%)" in page
  assert "<b>4.7 kHz to 5.3 kHz</b> (90&nbsp;%, 6&nbsp;dB louder)" in page
  assert "above 50&nbsp;% of the training clips" in page


def test_denoised_clips_are_shown_and_may_be_gone():
  rng = np.random.default_rng(0)
  rows = [(n, rng.normal(size=(9, 5))) for n in ("near", "far", "denoised")]
  heard = record.Heard("normal", "0" + ODD, 1.0, rows)
  transfer = {"one": np.array([1.0, 2.0, 3.0])}
  some = [
    record.Denoised("fan", "", 16_000, [heard], transfer),
    record.Denoised("gone", "00", 16_000, [], {}),
  ]
  run = run_of(RUNS["usual"])._replace(denoised=some)
  page = report_page.page(run)
  checked(page)
  assert "What the encoder hears" in page
  assert "G&nbsp;=&nbsp;2" in page
  assert "gone section 00" in page


def test_a_silent_clip_is_said_to_be_one():
  sections = {"fan": {"00": section()}}
  (suspect,) = suspects_of(sections)
  suspect = suspect._replace(
    sound=record.Sound("0.wav", "", np.zeros((2, 4000), np.float32)),
    score=9.0,
    reason=record.Reason(
      np.linspace(0, 1, 11), -np.ones(10), np.linspace(0, 8000, 13), np.ones(12)
    ),
  )
  page = report_page.page(run_of(sections, suspects=[suspect]))
  assert "No signal: all samples" in page
  assert "Where:" not in page
  assert "<audio" not in page


def test_silence_and_short_clips_can_be_drawn():
  for wave in (np.zeros((1, 300), np.float32), np.zeros((2, 20_000))):
    scale, (spectra,) = spectrogram.scale_of([wave], 16_000)
    drawn = spectrogram.clip(record.Sound("x", "", wave), spectra, scale)
    assert drawn.startswith("<svg")
    assert drawn.count("no signal") == len(wave)


def test_published_numbers_are_those_of_the_challenges_machines():
  names = sorted(record.DEVELOPMENT)
  results = results_of({n: {"00": section()} for n in names})
  # A set of the same names and of other recordings.
  assert "57.66" not in summary.summary(results)
  for entry in results["machines"].values():
    entry["n_train"] = 1000
  told = summary.summary(results)
  gap = 100 * (results["official_score"] - 0.5766)
  assert "57.66" in told
  assert "[X26]" in told
  assert f"{abs(gap):.2f}" in told
  assert "not comparable" in told
  results["machines"]["pump"] = results["machines"].pop("fan")
  assert not published.known(results)
  del results["machines"]["pump"]
  assert published.known(results)["development"] == 0.5766
  assert not published.totals(results)


@pytest.mark.slow
def test_two_hundred_machines_stay_small_and_quick():
  rng = np.random.default_rng(0)
  one = section(24)
  sections = {f"machine{i:03}": {"00": one} for i in range(200)}
  wave = rng.normal(size=(2, 160_000)).astype(np.float32) / 10
  sound = record.Sound("x.wav", "../x.wav", wave)
  suspects = [
    s._replace(sound=sound, normal=sound) for s in suspects_of(sections)[:12]
  ]
  notes = [f"clip{i}.wav: channel 1 is silent" for i in range(40_000)]
  found = results_of({"m": {"00": one}}, seeds=3, notes=notes)
  found["machines"] = dict.fromkeys(sections, found["machines"]["m"])
  # Of the processor: others may use the machine.
  start = time.process_time()
  page = report_page.page(record.Run(found, sections, suspects))
  assert time.process_time() - start < 30
  reader = checked(page)
  assert reader.tags.count("audio") == 4 * len(suspects)
  assert "188 are left out" in page
  assert "39800 more" in page
