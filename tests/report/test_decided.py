"""What the page and the console say of decisions, on made-up records."""

import numpy as np
import pytest

from asd_jax.report import (
  clips,
  console,
  curves,
  decisions,
  figures,
  listing,
  record,
  summary,
  text,
  words,
)
from tests.report import test_page as made


def run_of(part, **more):
  run = made.run_of({"fan": {"00": part}})
  how = run.results["machines"]["fan"]["sections"]["00"]["decision"]
  how.update(more)
  return run


def plain(**more):
  return made.section(labelled=False, domains=False, threshold=None, **more)


def test_a_p_value_is_said_as_a_number_of_normal_clips():
  how = made.decision_of(plain())
  said = [words.higher(p / 13, how) for p in (1, 2, 3)]
  assert said == [
    "none of 12 normal clips scores as high or higher",
    "1 of 12 normal clips scores as high or higher",
    "2 of 12 normal clips score as high or higher",
  ]
  assert words.higher(None, how) == ""


def test_a_p_value_of_two_domains_is_of_the_clips_of_one():
  both = {"source": 92, "target": 8}
  how = made.decision_of(plain())._replace(by_domain=True, of_domain=both)
  said = [words.higher(p, how) for p in (1 / 9, 2 / 9, 5 / 93, 2 / 3)]
  assert said == [
    "none of 8 normal target clips scores as high or higher",
    "1 of 8 normal target clips scores as high or higher",
    "4 of 92 normal source clips score as high or higher",
    # 62 of 93 or 6 of 9: nobody knows of which domain it is.
    "at most 61 of 92 normal source and 5 of 8 normal target clips score as"
    " high or higher",
  ]
  # Results of an earlier version do not say how many clips there were, and
  # of no clips there is nothing to say.
  for of_domain in ({}, {"source": 92, "target": 0}):
    assert words.higher(1.0, how._replace(of_domain=of_domain)) == ""


def test_every_clip_is_listed_those_to_look_at_first():
  part = plain(num=40, seed=1)
  # A p-value may call anomalous what has a lower score than a normal clip.
  part.decision[np.argsort(part.score)[20]] = 1
  run = run_of(part)
  (suspect,) = made.suspects_of(run.sections)
  page = listing.section(run._replace(suspects=[suspect]))
  keys = np.lexsort((-part.score, -part.decision))
  order = [page.index(f">{part.names[i]}<") for i in keys]
  assert order == sorted(order)
  assert page.count("<details") == 1
  assert " open>" in page
  alarms = int((part.decision == 1).sum())
  assert f"fan: {alarms} of 40 clips called anomalous" in page
  assert page.count('class="alarm"') == alarms > 0
  assert page.count("as high or higher") == 40
  assert "Anomalous clips first" in page
  part.decision[:] = 0
  assert "Anomalous clips first" not in listing.section(run)
  # The shown clip's player is on its card; the others are links to files.
  assert page.count('href="#clip-1"') == 1
  assert 'href="../0.wav"' not in page
  assert page.count('href="../') == 39


def test_a_list_that_a_page_cannot_hold_says_what_it_leaves_out(monkeypatch):
  monkeypatch.setattr(listing, "_MAX_BYTES", 2_000)
  page = listing.section(run_of(plain(num=40)))
  rows = page.count("<tr>") - 1
  assert 0 < rows < 40
  assert f"{40 - rows} more, less suspicious" in page


def test_too_few_clips_make_no_decision_anywhere():
  run = run_of(made.undecided())
  reason = "no decision possible: 6 normal clips, 9 needed for 0.1"
  assert reason in summary.summary(run.results)
  assert reason in listing.section(run)
  assert list(console.lines(run.results)) == [f"fan: {reason}"]
  assert "0 of" not in summary.summary(run.results)


def test_in_sample_decisions_have_a_box_and_others_have_none():
  assert decisions.warning(run_of(plain()).results) == ""
  box = decisions.warning(run_of(plain(), folds=0).results)
  assert 'class="warning"' in box
  assert "rate of 0.1 does not hold" in box
  # A rule that promises nothing breaks no promise.
  quantile = run_of(made.section(threshold=0.0), folds=0)
  assert decisions.warning(quantile.results) == ""
  assert "promises no false-alarm rate" in summary.summary(quantile.results)


def test_the_console_says_where_nothing_is_promised():
  first = lambda run: next(console.lines(run.results))
  assert first(run_of(plain())).endswith(" clips anomalous")
  quantile = run_of(made.section(threshold=0.0, labelled=False))
  assert first(quantile).endswith(
    " of 8 clips anomalous; no false-alarm rate is promised (rule quantile)"
  )
  assert first(run_of(plain(), folds=0)).endswith(
    " of 8 clips anomalous; about 0.8 false alarms expected at the stated rate"
    " 0.1, but more are likely (threshold.folds=0)"
  )


def test_without_labels_decisions_come_first():
  told = summary.summary(run_of(plain()).results)
  assert "called anomalous" in told
  assert "official score" not in told
  assert "12</b><span>normal clips to compare with; about 10 in 100" in told


def test_measured_rates_stand_beside_the_promise():
  run = run_of(made.section(num=40, threshold=None))
  rates = run.results["measured"]["all"]
  found = rates["confusion"]
  part = f"{found['false_alarms']} of 20 ({100 * rates['false_alarm_rate']:.1f}"
  told = summary.summary(run.results)
  assert part in told
  assert "promised about 10 %;" in told
  page = decisions.section(run)
  for name in ("fan", "fan, source", "fan, target"):
    assert f">{name}<" in page
  assert list(console.lines(run.results))[-2].startswith(
    f"false alarms: {part}"
  )


@pytest.mark.parametrize("by_domain", [False, True])
def test_nothing_is_promised_of_one_domain_unless_decided_by_domain(by_domain):
  sections = {m: {"00": made.section(40, threshold=None)} for m in "ab"}
  run = made.run_of(sections)
  for entry in record.entries_of(run.results):
    entry["decision"]["by_domain"] = by_domain
  page = decisions.section(run)
  for name in ("a", "b", "all machines"):
    assert f">{name}</th><td>10.0<" in page
    for domain in ("source", "target"):
      cell = page.partition(f">{name}, {domain}</span></th><td>")[2]
      assert cell.startswith("10.0<" if by_domain else text.MISSING)


def test_encoders_that_have_seen_the_clips_are_spoken_of_beside_the_promise():
  run = run_of(made.section(num=40, threshold=None))
  told = "Encoders of this run have learned from the training clips"
  assert told not in decisions.section(run)
  run.results["encoders"] = {"adapted": {"eat": {}}}
  assert told in decisions.section(run)
  run.results["config"]["adapt"] = {"folds": 2}
  assert told not in decisions.section(run)


def test_the_console_names_the_flagged_clips_and_no_control_marks():
  part = plain(num=60)
  part = part._replace(
    names=["\x1b[31m.wav"] * 60, decision=np.ones(60, int),
    p_value=np.full(60, 1 / 13),
  )  # fmt: skip
  lines = list(console.lines(run_of(part).results))
  assert lines[0] == "fan: 60 of 60 clips anomalous"
  wanted = "  \\x1b[31m.wav: none of 12 normal clips scores as high or higher"
  assert lines[1] == wanted
  assert lines[-1] == "  and 40 more, see scores/"


@pytest.mark.parametrize("kind", [0, 1])
def test_one_clip_is_spoken_of_as_one(kind):
  part = plain(num=1)._replace(decision=np.array([kind]))
  run = run_of(part)
  shown = run._replace(suspects=made.suspects_of(run.sections))
  page = clips.section(shown)
  assert "The only test clip, beside the normal clip" in page
  assert ("It is called normal" in page) == (kind == 0)
  assert "highest" not in page
  assert f"{kind} of 1 clip called anomalous" in listing.section(run)
  assert "first" not in listing.section(run)


@pytest.mark.parametrize(
  ("alarms", "shown", "said"),
  [
    (0, 0, "No clip is called anomalous."),
    (2, 2, ""),
    (10, 3, "Of the 10 clips called anomalous 3 are shown;"),
    (2, 1, "Of the 2 clips called anomalous 1 is shown;"),
  ],
)
def test_cards_say_how_many_alarms_have_none(alarms, shown, said):
  part = plain(num=20)._replace(decision=(np.arange(20) < alarms).astype(int))
  run = run_of(part)
  (one,) = made.suspects_of(run.sections)
  suspects = [
    one._replace(name=f"{i}.wav", decision=int(i < shown)) for i in range(3)
  ]
  page = clips.section(run._replace(suspects=suspects))
  lead = "The 3 clips with the highest scores, each beside the normal clip"
  assert lead in page
  assert said in page
  assert page.count("called anomalous") == bool(said)


def test_training_scores_of_folds_are_said_to_have_another_scale(monkeypatch):
  monkeypatch.setattr(figures, "histogram", lambda *_: "<svg></svg>")
  run = run_of(plain())
  told = "a shift between outline and bars need not be drift"
  assert told in curves.section(run)
  assert "scores by models that had not heard them" in curves.section(run)
  assert told not in curves.section(run_of(plain(), folds=0))


def test_equal_pictures_have_different_ids():
  picture = '<svg a><g id="p00000000x"/><use href="#p00000000x"/></svg>'
  first, second = text.distinct(picture * 2).split("</svg>")[:2]
  assert first + "</svg>" == picture
  assert second.count("p00000000n2x") == 2


def test_a_threshold_on_the_score_is_no_promise():
  assert not made.decision_of(made.section(threshold=1.0)).promises
  assert made.decision_of(plain()).promises
