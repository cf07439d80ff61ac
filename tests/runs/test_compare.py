import html.parser
import json

import numpy as np
import pytest

from asd_jax.metrics import official
from asd_jax.report import compare as report_compare
from asd_jax.report import record
from asd_jax.report import seeds as report_seeds
from asd_jax.runs import compare

ODD = "<script>x</script>\"&'\u202e扇 fan, the long one of the hall"


class Reader(html.parser.HTMLParser):
  """Checks nesting and gathers tags and what the page points to."""

  def __init__(self):
    super().__init__()
    self.stack, self.tags, self.urls = [], [], []

  def handle_starttag(self, tag, attrs):
    self.handle_startendtag(tag, attrs)
    if tag not in ("meta", "br"):
      self.stack.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append(tag)
    self.urls += [v for k, v in attrs if k in ("href", "src", "xlink:href")]

  def handle_endtag(self, tag):
    assert self.stack.pop() == tag


def checked(page):
  reader = Reader()
  reader.feed(page)
  reader.close()
  assert not reader.stack
  assert not [u for u in reader.urls if not u.startswith("#")]
  assert not {"script", "link", "img", "iframe"} & set(reader.tags)
  # The name of SVG's link dialect is no address.
  page = page.replace("http://www.w3.org/1999/xlink", "")
  assert "http:" not in page
  assert "https:" not in page
  assert "url(http" not in page
  return reader


def results_of(seeds, *, machines=("fan", "pump"), seed=0, **more):
  """A results.json of made-up scores; more seeds change none before them."""
  rng = np.random.default_rng(seed)

  def entry():
    out = {}
    for machine in machines:
      values = 0.6 + 0.02 * rng.normal(size=3)
      out[machine] = dict(zip(official.RANKED, values, strict=True))
      out[machine]["score"] = official.official_score(values)
    return out

  def score(entries):
    return official.official_score(official.ranked_values(entries.values()))

  fused = entry()
  for machine in fused.values():
    machine.update(n_train=1000, n_test=200)
  runs = [{"seed": s, "machines": entry()} for s in seeds]
  return {
    "system": "a system",
    "config": {"data_dir": "/data"},
    "machines": fused,
    "official_score": score(fused),
    "per_seed": [{**r, "official_score": score(r["machines"])} for r in runs],
    "published": {"development": 0.5766, "evaluation": 0.0},
    **more,
  }


@pytest.fixture
def compared(tmp_path):
  """Compares two contents of results.json."""

  def start(*both):
    runs = []
    for name, results in zip("ab", both, strict=True):
      path = tmp_path / f"{name}.json"
      path.write_text(json.dumps(results))
      runs.append(compare.read(path))
    return compare.compare(*runs)

  return start


@pytest.mark.parametrize("num", [1, 2, 13, 100])
@pytest.mark.parametrize("machines", [["fan"], [ODD, "$x_1$"]])
def test_any_two_runs_make_a_whole_page(compared, num, machines):
  found = compared(
    results_of(range(num), machines=machines),
    results_of(range(2), machines=machines, seed=1, system=ODD),
  )
  page = report_compare.page(found)
  assert {"table", "svg", "main", "h1"} <= set(checked(page).tags)
  assert "\u202e" not in page
  assert "default-src 'none'" in page
  assert len(report_compare.console(found)) > 6


def test_order_of_seeds_does_not_matter(compared):
  a, b = results_of(range(6)), results_of(range(6), seed=1)
  turned = {**b, "per_seed": b["per_seed"][::-1]}
  one, two = compared(a, b), compared(a, turned)
  for first, second in zip(one.rows, two.rows, strict=True):
    assert first.record == second.record
  assert report_compare.console(one) == report_compare.console(two)
  assert one.rows[0].record.kind == "paired"


def test_only_common_machines_are_compared(compared):
  a = results_of(range(4), machines=("fan", "valve"))
  b = results_of(range(4), machines=("fan", "pump", "saw"), seed=1)
  found = compared(a, b)
  assert [r.name for r in found.rows] == ["official score", "fan"]
  total, fan = found.rows
  assert total.a == pytest.approx(fan.a)
  assert total.fused_b == pytest.approx(fan.fused_b)
  assert "only in A, left out: valve" in found.notes
  assert "only in B, left out: pump, saw" in found.notes


def test_a_machine_without_scores_on_one_side_is_left_out(compared):
  a, b = results_of(range(4)), results_of(range(4), seed=1)
  for entry in (b, *b["per_seed"]):
    entry["machines"]["pump"] = {"n_train": 1000, "n_test": 200}
  found = compared(a, b)
  assert [r.name for r in found.rows] == ["official score", "fan"]
  assert "no score of a seed in both runs: pump" in found.notes


def test_a_seed_without_a_score_is_left_out(compared):
  a, b = results_of(range(4)), results_of(range(4), seed=1)
  b["per_seed"][2]["machines"]["fan"]["score"] = None
  found = compared(a, b)
  assert [r.record.num_a for r in found.rows] == [4, 3, 4]
  assert "fan: 1 seed left out: a value is missing" in found.notes
  checked(report_compare.page(found))


def test_other_data_are_noted(compared):
  a, b = results_of(range(3)), results_of(range(3), seed=1)
  # Nothing but that the clips' own scores are not beside these.
  (alone,) = compared(a, b).notes
  assert alone.startswith("no test over clips: ")
  b["machines"]["fan"]["n_test"] = 190
  b["config"] = {"data_dir": "/<other>"}
  assert compared(a, b).notes[1:] == [
    "other data, test clips in A and B: fan 200 and 190",
    "the data may differ: data_dir is /data in A and /<other> in B",
  ]


def test_machines_are_corrected_for_their_number(compared):
  names = [f"m{i}" for i in range(40)]
  a = results_of(range(5), machines=names)
  found = compared(a, results_of(range(5), machines=names, seed=1))
  p = [r.record.p_t for r in found.rows[1:]]
  corrected = [r.p_holm for r in found.rows[1:]]
  assert min(corrected) == pytest.approx(min(1, 40 * min(p)))
  assert found.rows[0].p_holm is None
  page = report_compare.page(found)
  checked(page)
  assert "10 more machines are in the table" in page
  assert "40 machines are tested" in page


def test_chosen_members_stand_for_seeds(compared):
  a = results_of([1, 1])
  for branch, entry in zip("xy", a["per_seed"], strict=True):
    entry["branch"] = branch
  found = compared(a, a)
  assert list(found.rows[0].a) == ["x 1", "y 1"]
  assert "a member: a branch with its seed" in found.notes[-1]


def seed_section(results):
  return report_seeds.section(record.Run(results, {}))


@pytest.mark.parametrize("num", [2, 30, 31, 100])
def test_the_seed_section_shows_dots_and_numbers(num):
  section = seed_section(results_of(range(num), machines=[ODD, "fan"]))
  tags = checked(section).tags
  assert {"svg", "table", "figcaption"} <= set(tags)
  assert section.count(">seed ") == (num if num <= 30 else 0)
  assert report_seeds.EXPLAINED in section
  # Machines of other names are not the challenge's.
  assert "Dotted" not in section
  assert "var(--normal)" in section


def test_the_published_number_is_dotted_for_the_whole_development_set():
  section = seed_section(
    results_of([1, 2], machines=sorted(record.DEVELOPMENT))
  )
  assert "Dotted: published (57.66)" in section


def test_the_seed_section_copes_with_what_is_missing():
  results = results_of(range(3), published=None)
  results["per_seed"][1]["machines"]["fan"]["score"] = None
  for entry in (results, *results["per_seed"]):
    entry["machines"]["pump"] = {"score": None, "n_train": 1000}
  section = seed_section(results)
  checked(section)
  assert "No score seed by seed: pump" in section
  assert "Dotted" not in section
  one = results_of([7])
  assert "One seed (7)" in seed_section(one)
  one["per_seed"][0]["official_score"] = None
  assert not seed_section(one)


def test_equal_values_of_all_seeds_can_be_drawn():
  row = report_seeds.Row("fan", [0.5, 0.5, None], 0.5, 0.5)
  assert report_seeds.dots([row]).startswith("<svg")
  assert report_seeds.pairs([(row, row)]).startswith("<svg")
  assert report_seeds.spread([0.5, None]) is None
  mean, std = report_seeds.spread([0.1, 0.3])
  assert (mean, std) == pytest.approx((0.2, np.sqrt(0.02)))
