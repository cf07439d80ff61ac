"""Fits and scores every machine, and writes scores, detectors and a report.

Run: python scripts/evaluate.py --config=configs/baseline_mahala.py \
  --config.data_dir=DIR --config.output_dir=OUT
"""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import config_flags

from asd_jax.runs import cli, config_file

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "config file, or the bare name of one such as plain_knn"
)


def run(arguments: Sequence[str]) -> int:
  """Runs the evaluation that the flags describe."""
  from asd_jax.metrics import table, total
  from asd_jax.report import console, record
  from asd_jax.runs import evaluate, progress

  config = config_file.prepared(_CONFIG.value, arguments)
  with progress.Progress() as bars:
    results = evaluate.run(config, progress=bars)
  for line in console.lines(results):
    print(line)
  if record.has_labels(results):
    header, rows = table.console_rows(results["machines"])
    both = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*both, strict=True)]
    for row in both:
      cells = [c.rjust(w) for c, w in zip(row, widths, strict=True)]
      print("  ".join(cells))
  score = results["official_score"]
  if score is not None:
    print(f"official score {100 * score:.2f}")
  if missing := total.in_words(score, results["official_score_over"]):
    print(missing)
  if chosen := results["members_chosen_on"]:
    print(f"too good: the labels of {', '.join(chosen)} chose the members")
  if results["encoders"].get("random_weights"):
    print("RANDOM WEIGHTS: these numbers mean nothing")
  print(f"report: {Path(config['output_dir']) / 'report.html'}")
  problems = [p for m in results["unread"].values() for p in m.values()]
  for text in problems:
    cli.tell(text)
  if problems:
    cli.tell(f"{len(problems)} test files could not be scored")
  return cli.BAD_INPUT if problems else 0


if __name__ == "__main__":
  cli.main(run)
