"""A comparison of two systems in words that claim no more than its test."""

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


def verdict(record: paired.Comparison, *, fused: float | None = None) -> str:
  """One plain sentence, in points (hundredths).

  Args:
    record: of fractions.
    fused: B - A of the ensembles, if known.

  Returns:
    The sentence.
  """
  # The ensembles are what is submitted, so they end the sentence.
  end = "."
  if fused is not None:
    end = f"; the ensembles differ by {100 * fused:+.2f} points (B - A)."
  gap = 100 * record.difference
  better, worse = ("B", "A") if gap > 0 else ("A", "B")
  if record.kind == "none":
    return (
      f"B differs from A by {gap:+.2f} points with one value each: no test over"
      " seeds is possible, and one over test clips needs the per-clip scores"
      " and labels, which were not found."
    )
  # No spread, no test; what was seen can still be said.
  if record.interval is None:
    if not round(gap, 8):
      return f"A and B are equal over {_over(record)}{end}"
    return (
      f"{better} is better than {worse} by {abs(gap):.2f} points, without any"
      f" spread over {_over(record)}: no test is possible{end}"
    )
  low, high = (100 * end for end in record.interval)
  p = "p = " + p_value(record.p_t)
  # "p = <0.001" is no English.
  p = p.replace("= <", "< ")
  # "Better" is said only where the interval leaves zero out.
  if low > 0 or high < 0:
    low, high = sorted((abs(low), abs(high)))
    return (
      f"{better} is better than {worse} by {abs(gap):.2f} points over"
      f" {_over(record)} (95 % interval {low:.2f} to {high:.2f}, {p},"
      f" {_TESTS[record.kind]}){end}"
    )
  # What cannot be told apart depends on what varied.
  noise = "the choice of clips" if record.kind == "clips" else "seed noise"
  return (
    f"No difference can be told from {noise}: B - A is {gap:+.2f} points"
    f" over {_over(record)} (95 % interval {low:+.2f} to {high:+.2f}, {p},"
    f" {_TESTS[record.kind]}){end}"
  )


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
