"""A comparison of two systems in words that claim no more than its tests."""

from asd_jax.metrics import paired

_WORDS = "no one two three four five six seven eight nine ten eleven twelve"
_TESTS = {
  "paired": "paired t test",
  "one sample": "one-sample t test against a single value",
  "welch": "Welch's t test of unpaired seeds",
  "clips": "paired bootstrap over clips",
}


def _count(num: int) -> str:
  words = _WORDS.split()
  noun = "seed" if num == 1 else "seeds"
  return f"{words[num] if num < len(words) else num} {noun}"


def p_value(value: float | None) -> str:
  """`0.012`, `<0.001`, or `-` where there is none."""
  if value is None:
    return "-"
  return "<0.001" if value < 0.001 else f"{value:.3f}"


def _over(record: paired.Comparison) -> str:
  if record.kind == "clips":
    return f"{record.num_a} common test clips"
  if record.kind == "welch":
    return f"{record.num_a} seeds of A and {record.num_b} of B"
  return _count(max(record.num_a, record.num_b))


def side(record: paired.Comparison | None) -> int:
  """Which system a test finds better.

  Args:
    record: what the test says, None if there was none.

  Returns:
    1 for B, -1 for A, 0 where its interval holds zero or there is none.
  """
  ends = record.interval if record else None
  if ends is None:
    return 0
  return int(ends.low > 0) - int(ends.high < 0)


def _tested(record: paired.Comparison, of: str) -> str:
  """The difference, its interval and p in brackets."""
  gap = f"{100 * record.difference:+.2f} points{of} over {_over(record)}"
  # No spread, no test; what was seen can still be said.
  if record.interval is None:
    return f"{gap}, without any spread to test against"
  low, high = (100 * end for end in record.interval)
  # "p = <0.001" is no English.
  p = f"p = {p_value(record.p_t)}".replace("= <", "< ")
  return (
    f"{gap} (95 % interval {low:+.2f} to {high:+.2f}, {p},"
    f" {_TESTS[record.kind]})"
  )


def _why(
  seeds: paired.Comparison, clips: paired.Comparison, *, drawn: bool
) -> str:
  """Why two records do not make a system better."""
  over_seeds, over_clips = side(seeds), side(clips)
  if not drawn:
    return "it cannot be told from the choice of clips"
  if seeds.kind == "none":
    return (
      "other clips would give the same order, but one seed says nothing"
      " about training again"
      if over_clips
      else "it cannot be told from the choice of clips, and one seed says"
      " nothing about training again"
    )
  if over_seeds == -over_clips != 0:
    return "seeds and clips say the opposite"
  if over_seeds:
    return (
      "training again would give the same order, but it cannot be told from"
      " the choice of clips"
    )
  if over_clips:
    return (
      "other clips would give the same order, but it cannot be told from seed"
      " noise"
    )
  return "it can be told neither from seed noise nor from the choice of clips"


def verdict(
  seeds: paired.Comparison,
  clips: paired.Comparison | None,
  *,
  drawn: bool = True,
) -> str:
  """One plain sentence, in points (hundredths).

  "Better" is said only where every question that can be asked has the same
  answer: training again (of systems that draw something at random), and other
  test clips.

  Args:
    seeds: the comparison over seeds, of fractions; of kind "none" where each
      side has one value.
    clips: that over test clips, None where it could not be made.
    drawn: whether a system draws something at random, else seeds do not
      matter.

  Returns:
    The sentence.
  """
  asked = [seeds] if drawn and seeds.kind != "none" else []
  asked += [clips] if clips else []
  if not asked:
    return (
      f"B differs from A by {100 * seeds.difference:+.2f} points with one value"
      " each: no test is possible, as one over test clips needs the per-clip"
      " scores and labels, which were not found."
    )
  if all(not round(r.difference, 10) and not r.interval for r in asked):
    return f"A and B are equal over {' and over '.join(map(_over, asked))}."
  # Clips compare the systems as they are used: a mean over seeds is none.
  several = len(asked) > 1
  of = {"clips": " of the ensembles" if several else ""}
  said = ", and ".join(_tested(r, of.get(r.kind, "")) for r in asked)
  sides = {side(r) for r in asked}
  whole = clips is not None and (not drawn or seeds.kind != "none")
  if whole and sides in ({1}, {-1}):
    better, worse = ("B", "A") if sides == {1} else ("A", "B")
    return f"{better} is better than {worse}: B - A is {said}."
  if clips is None:
    why = "whether other test clips would agree is not known"
    if not side(seeds):
      why = "it cannot be told from seed noise"
  else:
    why = _why(seeds, clips, drawn=drawn)
  return f"Neither is shown to be better: B - A is {said}; {why}."


def details(record: paired.Comparison) -> str:
  """What the verdict leaves out, in one line or ""."""
  found = []
  if record.p_wilcoxon is not None:
    found.append(f"Wilcoxon signed-rank p {p_value(record.p_wilcoxon)}")
  if record.effect is not None:
    found.append(f"Cohen's d_z {record.effect:.2f}")
  if record.detectable is not None:
    found.append(
      "smallest difference found with 80 % power about"
      f" {100 * record.detectable:.2f} points"
    )
  return "; ".join(found)
