"""Tables of the official programs, made of our metrics, for the goldens."""

import csv
import io

from asd_jax.metrics import official

COLUMNS = {
  "AUC (source)": "auc_source",
  "AUC (target)": "auc_target",
  "pAUC": "pauc",
  "pAUC (source)": "pauc_source",
  "pAUC (target)": "pauc_target",
  "precision (source)": "precision_source",
  "precision (target)": "precision_target",
  "recall (source)": "recall_source",
  "recall (target)": "recall_target",
  "F1 score (source)": "f1_source",
  "F1 score (target)": "f1_target",
}
MEAN_KEYS = {
  "AUC": ("auc_source", "auc_target"),
  "pAUC": ("pauc", "pauc"),
  "precision": ("precision_source", "precision_target"),
  "recall": ("recall_source", "recall_target"),
  "F1 score": ("f1_source", "f1_target"),
}


def baseline_csv(section, metrics):
  """The baseline's result file of a machine with one section."""
  rows = [
    ["section", *COLUMNS],
    [section, *(metrics[k] for k in COLUMNS.values())],
  ]
  for name, mean in (
    ("arithmetic mean", official.arithmetic_mean),
    ("harmonic mean", official.official_score),
  ):
    rows.append([name, *(mean([metrics[k]]) for k in COLUMNS.values())])
  text = io.StringIO(newline="")
  csv.writer(text, lineterminator="\n").writerows([*rows, []])
  return text.getvalue()


def mean_rows(entries):
  """The evaluator's four rows of means, over sections or over machines."""
  both, source, target = (0, 1), (0,), (1,)
  rows = {
    "arithmetic mean": (official.arithmetic_mean, both),
    "harmonic mean": (official.official_score, both),
    "source harmonic mean": (official.official_score, source),
    "target harmonic mean": (official.official_score, target),
  }
  return {
    row: {
      column: mean(e.get(keys[i]) for i in domains for e in entries)
      for column, keys in MEAN_KEYS.items()
    }
    for row, (mean, domains) in rows.items()
  }
