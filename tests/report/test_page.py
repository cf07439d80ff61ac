import html.parser
import math
import time
import types
from pathlib import Path

import numpy as np
import pytest

from asd_jax.data import audio, clips
from asd_jax.metrics import official
from asd_jax.report import page as report_page
from asd_jax.report import spectrogram
from asd_jax.runs import examples

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


def clip(name, *, label=None, domain=None):
  header = audio.Header(2, 16_000, 16_000, "PCM_16")
  return clips.Clip(Path(name), "m", "00", "test", domain, label, "", header)


def section(
  num=8, *, labelled=True, domains=True, threshold=1.0, name="{}.wav", seed=0
):
  rng = np.random.default_rng(seed)
  some = [
    clip(
      name.format(i),
      label=LABELS[i % 2] if labelled else None,
      domain=("source", "target")[i // 2 % 2] if domains else None,
    )
    for i in range(num)
  ]
  return types.SimpleNamespace(
    clips=some,
    score=rng.normal(size=num).astype(np.float32),
    train=rng.normal(size=12).astype(np.float32),
    section=types.SimpleNamespace(threshold=threshold, state={}),
  )


def entry_of(part):
  labelled = bool(part.clips) and part.clips[0].label is not None
  anomaly = [c.label == "anomaly" for c in part.clips] if labelled else None
  domain = part.clips[0].domain if part.clips else None
  target = [c.domain == "target" for c in part.clips] if domain else None
  metrics = official.clip_metrics(part.score, anomaly, target)
  limit = part.section.threshold
  return {
    **metrics,
    "n_train": len(part.train),
    "n_test": len(part.clips),
    "threshold": limit if math.isfinite(limit) else None,
    "num_anomalous": int((part.score > limit).sum()),
    "training_scores": {"a": "loo"},
    "bootstrap": None,
  }


def results_of(scored, *, seeds=1, notes=(), **more):
  machines = {}
  for name, parts in scored.items():
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
    assert url.startswith(("#", "data:")), url[:80]
    assert not url.startswith("#") or url[1:] in reader.ids, url
  assert "script" not in reader.tags
  return reader


RUNS = {
  "usual": {"fan": {"00": section()}, "valve": {"00": section(seed=1)}},
  "sections": {"fan": {"00": section(), "01": section(seed=1)}},
  "unlabelled": {"fan": {"00": section(labelled=False, domains=False)}},
  "no domains": {"fan": {"00": section(domains=False)}},
  "no test clips": {"fan": {"00": section(0)}},
  "one clip": {"fan": {"00": section(1, labelled=False)}},
  "one labelled clip": {"fan": {"00": section(1)}},
  "infinite threshold": {"fan": {"00": section(threshold=math.inf)}},
  "odd names": {"<i>ü$_$": {"00": section(name="{}" + ODD)}},
}


@pytest.mark.parametrize("name", RUNS)
def test_any_run_makes_a_whole_page(name):
  scored = RUNS[name]
  notes = [f"{ODD}: channel 0 is silent"]
  found = results_of(scored, seeds=1 + len(name) % 2, notes=notes)
  suspects = [examples._bare(p, scored) for p in examples.choose(scored)]
  reader = checked(report_page.page(found, scored, suspects=suspects))
  assert {"main", "nav", "h1", "table", "caption"} <= set(reader.tags)
  assert {"machines", "notes", "run"} <= set(reader.ids)


def test_nothing_at_all_makes_a_page():
  empty = results_of({}, seeds=0)
  checked(report_page.page(empty, {}))
  checked(report_page.page({**empty, "published": None}, {}))


def test_no_file_name_reaches_the_page_unescaped():
  scored = RUNS["odd names"]
  found = results_of(scored, seeds=2, notes=[ODD])
  suspects = [examples._bare(p, scored) for p in examples.choose(scored)]
  page = report_page.page(found, scored, suspects=suspects)
  assert "<script" not in page
  assert "<i>" not in page
  assert "\u202e" not in page
  assert "\\udcff" in page
  assert "&lt;script&gt;alert(&#x27;ü&#x27;)&lt;i&gt;" in page


def test_a_clip_card_has_pictures_sound_and_reason():
  rng = np.random.default_rng(0)
  scored = {"fan": {"00": section(name="{}" + ODD)}}
  (pick,) = examples.choose(scored, in_all=1)
  time_drop, band_drop = np.zeros(10), np.zeros(12)
  time_drop[3], band_drop[7] = 0.5, 0.9
  suspect = examples._bare(pick, scored)._replace(
    wave=rng.normal(size=(2, 40_000)).astype(np.float32) / 10,
    score=2.0,
    typical=1.0,
    reason=spectrogram.Reason(
      np.linspace(0, 2.5, 11), time_drop, np.linspace(0, 8000, 13), band_drop
    ),
    neighbours=((ODD, 1.5),),
    references=(ODD,),
  )
  page = report_page.page(results_of(scored), scored, suspects=[suspect])
  reader = checked(page)
  assert "audio" in reader.tags
  assert "image" in reader.tags
  assert "<b>0.8 to 1.0 s</b> (50&nbsp;%)" in page
  assert "<b>4.7 kHz to 5.3 kHz</b> (90&nbsp;%)" in page


def test_silence_and_short_clips_can_be_drawn():
  for wave in (np.zeros((1, 300), np.float32), np.zeros((2, 20_000))):
    drawn = spectrogram.clip(wave, 16_000, None, "x")
    assert drawn.startswith("<svg")


def test_published_number_and_difference_are_shown():
  scored = RUNS["usual"]
  found = results_of(scored)
  page = report_page.page(found, scored)
  gap = 100 * (found["official_score"] - 0.5766)
  assert "57.66" in page
  assert "[X26]" in page
  assert f"{abs(gap):.2f}" in page
  assert "not comparable" in page


@pytest.mark.slow
def test_two_hundred_machines_stay_small_and_quick():
  rng = np.random.default_rng(0)
  one = section(24)
  scored = {f"machine{i:03}": {"00": one} for i in range(200)}
  picks = examples.choose(scored)
  assert len(picks) == examples.IN_ALL
  wave = rng.normal(size=(2, 160_000)).astype(np.float32) / 10
  suspects = [examples._bare(p, scored)._replace(wave=wave) for p in picks]
  notes = [f"clip{i}.wav: channel 1 is silent" for i in range(40_000)]
  found = results_of({"m": {"00": one}}, seeds=3, notes=notes)
  found["machines"] = dict.fromkeys(scored, found["machines"]["m"])
  start = time.perf_counter()
  page = report_page.page(found, scored, suspects=suspects)
  assert time.perf_counter() - start < 30
  reader = checked(page)
  assert reader.tags.count("audio") == len(picks)
  assert "188 are left out" in page
  assert "39800 more" in page
