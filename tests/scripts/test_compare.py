import json

import numpy as np
import pytest

from asd_jax.metrics import official

ODD = "<script>alert(1)</script> \"&'\u202e fan"


def results_of(name, seeds, *, shift=0.0, machines=("fan", "pump"), **more):
  """A results.json like that of evaluate.py, of made-up scores."""
  rng = np.random.default_rng(len(name))

  def entry():
    out = {}
    for machine in machines:
      values = 0.6 + shift + 0.01 * rng.normal(size=3)
      out[machine] = dict(zip(official.RANKED, values, strict=True))
      out[machine]["score"] = official.official_score(values)
    return out

  def score(entries):
    return official.official_score(official.ranked_values(entries.values()))

  drawn = [entry() for _ in seeds]
  fused = entry()
  for machine in fused.values():
    machine.update(n_train=1000, n_test=200)
  return {
    "system": name,
    "config": {"data_dir": "/data"},
    "seeds": list(seeds),
    "machines": fused,
    "official_score": score(fused),
    "per_seed": [
      {"seed": s, "official_score": score(e), "machines": e}
      for s, e in zip(seeds, drawn, strict=True)
    ],
    "published": None,
    **more,
  }


@pytest.fixture
def put(tmp_path):
  """Writes a run and returns its folder."""

  def write(folder, results):
    path = tmp_path / folder / "results.json"
    path.parent.mkdir()
    text = results if isinstance(results, str) else json.dumps(results)
    path.write_text(text)
    return path.parent

  return write


@pytest.fixture
def compare(run):
  return lambda *args: run("compare.py", *args)


def test_two_runs_make_a_table_and_a_verdict(compare, put):
  a = put("a", results_of("one", range(10)))
  b = put("b", results_of("other", range(10), shift=0.03))
  end = compare(a, b / "results.json")
  assert (end.status, end.err) == (0, "")
  lines = end.out.splitlines()
  assert lines[0].startswith("A: one, 10 seeds, ")
  heads = ["official score", "fan", "pump"]
  assert [line[:14].strip() for line in lines[4:7]] == heads
  assert all(line.endswith("10/10") for line in lines[4:7])
  assert "over ten seeds (95 % interval" in end.out
  assert "not about other test clips" in " ".join(lines)
  assert "read p (Holm)" in end.out
  # Seeds agree; without the clips' scores nobody knows whether clips do.
  assert "Neither is shown to be better" in end.out
  assert "other test clips would agree is not known" in end.out
  same = compare(a, a)
  assert "A and B are equal over ten seeds" in same.out


def test_runs_of_other_seeds_and_of_one_seed_compare(compare, put):
  a = put("a", results_of("one", range(5)))
  b = put("b", results_of("other", range(5, 9)))
  c = put("c", results_of("fixed", [1]))
  assert "Welch" in compare(a, b).out
  assert "single value" in compare(a, c).out
  assert "single value" in compare(c, a).out
  end = compare(c, c)
  assert end.status == 0
  assert "no test is possible" in end.out
  assert "every seed sees the same test clips" not in end.out


def test_the_page_is_written_with_any_name(compare, put, tmp_path):
  a = put("a", results_of("<b>one</b>", range(3), machines=[ODD]))
  b = put("b", results_of("other", range(3), machines=[ODD]))
  out = tmp_path / "new" / "compare.html"
  end = compare(a, b, f"--output={out}")
  assert end.status == 0, end.err
  assert f"page: {out}" in end.out
  page = out.read_text()
  assert "<script" not in page
  assert "<b>" not in page
  for text in (page, end.out):
    assert "\u202e" not in text


def test_more_than_two_runs_make_one_table(compare, put, tmp_path):
  folders = [
    put(name, results_of(system, range(3), shift=0.01 * i))
    for i, (name, system) in enumerate((
      ("a", "one"), ("b", "other"), ("c", "one"),
    ))
  ]  # fmt: skip
  (folders[1] / "report.html").write_text("")
  out = tmp_path / "new" / "table.html"
  end = compare(*folders, f"--output={out}")
  assert (end.status, end.err) == (0, "")
  lines = end.out.splitlines()
  assert lines[0].startswith("system")
  # Two runs of one system are told apart.
  assert lines[3].startswith(f"one ({folders[2]})")
  page = out.read_text()
  assert 'href="../b/report.html"' in page
  assert "best" in page
  fan = put("fan", results_of("fan", [1], machines=["fan"]))
  end = compare(*folders, fan)
  assert "left out: pump" in end.out
  saw = put("saw", results_of("saw", [1], machines=["saw"]))
  assert "no machine that all" in compare(fan, *folders, saw).refused()
  line = compare(*folders, f"--output={folders[1] / 'results.json'}").refused()
  assert "expected a new file" in line


def test_wrong_input_is_refused_in_one_line(compare, put, tmp_path):
  good = results_of("one", range(3))
  a = put("a", good)
  no_seeds = {k: v for k, v in good.items() if k != "per_seed"}
  percent = json.loads(json.dumps(good))
  percent["machines"]["fan"]["score"] = 63.1
  twice = {**good, "per_seed": good["per_seed"][:1] * 2}
  nameless = {**good, "per_seed": [{"official_score": 0.5}]}
  cases = {
    "found no file": None,
    "found no JSON": "{",
    "NaN in it": '{"a": NaN}',
    "found a JSON list": "[]",
    "found no key 'per_seed'": no_seeds,
    "found no official score: no labels of test clips": {
      **good,
      "official_score": None,
      "machines": {"fan": {}},
      "official_score_over": {"machines": [], "missing": {"fan": "no labels"}},
    },
    "expected a dict": {**good, "machines": []},
    "expected a fraction": percent,
    "twice in per_seed": twice,
    "no key 'machines' in per_seed": nameless,
    "no score of a seed": {**good, "per_seed": []},
    "found machines valve": results_of("x", range(3), machines=["valve"]),
  }
  out = tmp_path / "page.html"
  for i, (words, given) in enumerate(cases.items()):
    b = tmp_path / str(i) if given is None else put(str(i), given)
    line = compare(a, b, f"--output={out}").refused()
    assert words in line
    assert line.startswith(f"{b}")
    assert "expected" in line
  assert not out.exists()


def test_more_runs_than_two_need_official_scores(compare, put):
  good = put("a", results_of("one", range(3)))
  none = results_of("other", range(3), official_score=None)
  none["official_score_over"] = {
    "machines": ["fan"], "num_values": 1, "num_expected": 3,
    "missing": {"fan": "domains of 2 of 2 test clips unknown"},
  }  # fmt: skip
  line = compare(good, good, put("b", none)).refused()
  assert "no official score: fan: domains of 2 of 2 test clips unknown" in line
  assert "a column domain" in line


def test_bytes_that_are_no_text_are_refused(compare, put):
  a = put("a", results_of("one", range(3)))
  (a / "results.json").write_bytes(b"\xff\xfe")
  assert "found no JSON" in compare(a, a).refused()


def test_wrong_flags_are_refused(compare, put, tmp_path):
  a = put("a", results_of("one", range(3)))
  before = (a / "results.json").read_text()
  assert "found 1 paths" in compare(a).refused()
  assert "found 2 paths" in compare(a, a, "--output=").refused()
  line = compare(a, a, f"--output={a / 'results.json'}").refused()
  assert "expected a new file" in line
  assert (a / "results.json").read_text() == before
  assert "cannot be written" in compare(a, a, f"--output={tmp_path}").refused()
  assert not list(tmp_path.rglob("*.partial"))
