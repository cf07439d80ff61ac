import pytest

from asd_jax.metrics import total

WHOLE = dict(
  auc=0.5, auc_source=0.5, auc_target=0.25, pauc=0.5,
  auc_source_same=0.5, auc_target_same=0.25,
)  # fmt: skip
N, A = "normal", "anomaly"
S, T = "source", "target"


@pytest.mark.parametrize(
  ("labels", "domains", "why", "is_void"),
  [
    ([N, N, A], [S, T, T], "", False),
    ([N, A], [S, T], "no normal target test clips", False),
    ([None, None], [None, S], total.NO_LABELS, False),
    ([N, A, None], [S, T, S], "labels of 1 of 3 test clips unknown", True),
    ([N, N], [S, T], "normal test clips only", True),
    ([A], [S], "anomaly test clips only", True),
    ([N, A], [None, S], "domains of 1 of 2 test clips unknown", True),
  ],
)
def test_what_is_unknown_is_said(labels, domains, why, is_void):
  assert total.gap(labels, domains) == total.Gap(why, is_void)


def test_a_machine_without_labels_is_left_out_and_named():
  entries = {"a": [WHOLE], "b": [dict.fromkeys(WHOLE)], "c": []}
  gaps = {"a": [total.Gap()], "b": [total.Gap(total.NO_LABELS)], "c": []}
  found = total.total(entries, gaps)
  assert found.score == 0.375
  assert found.machines == ["a"]
  said = total.in_words(found.score, found.record())
  assert said == "official score over 1 of 2 machines (b: no labels)"
  alone = total.total({"b": entries["b"]}, gaps)
  assert alone.score is None
  assert total.in_words(None, alone.record()) == ""


@pytest.mark.parametrize("more", [[], [total.Gap()]])
def test_the_pauc_alone_is_no_official_score(more):
  gap = total.Gap("domains of 2 of 2 test clips unknown", is_void=True)
  pauc = {**WHOLE, "auc_source": None, "auc_target": None}
  entries = {"a": [WHOLE], "b": [pauc, *[WHOLE for _ in more]]}
  found = total.total(entries, {"a": [total.Gap()], "b": [gap, *more]})
  assert found.score is None
  said = total.in_words(found.score, found.record())
  assert said == f"no official score: b: {gap.why}"


def test_a_section_without_labels_beside_one_with_is_a_hole():
  gaps = {"a": [total.Gap(), total.Gap(total.NO_LABELS)]}
  entries = {"a": [WHOLE, dict.fromkeys(WHOLE)]}
  assert total.total(entries, gaps).score is None
  assert total.machine(entries["a"])["pauc"] is None


def test_missing_values_are_counted():
  part = {**WHOLE, "auc_target": None}
  gaps = {"a": [total.Gap()], "b": [total.Gap("no normal target test clips")]}
  found = total.total({"a": [WHOLE], "b": [part]}, gaps)
  assert found.score == pytest.approx(5 / (4 * 2 + 4))
  assert total.in_words(found.score, found.record()).startswith(
    "official score over 5 of 6 values (b: "
  )
