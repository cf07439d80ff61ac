"""KATECH's table 4: noise transfer, AdaSub and CohGate, machine by machine.

Run: python scripts/evaluate.py --config=configs/katech_table4.py:ada_sub
  --config.data_dir=DIR --config.output_dir=OUT
or both columns, G and the label oracle beside the published table:
python scripts/katech_ablation.py --data_dir=DIR --output=OUT --table=4

`coh_gate` is the other column; with `,smoke` it is shrunk to synthetic data and
seconds.
"""

from configs import katech_ablation, published

COLUMNS = tuple(published.KATECH_COLUMNS)


def get_config(arg=""):
  """Builds the config of a column, `"ada_sub"` or `"ada_sub,smoke"`."""
  parts = [p for p in arg.split(",") if p]
  columns = [p for p in parts if p != "smoke"] or [COLUMNS[0]]
  if len(columns) > 1 or columns[0] not in COLUMNS:
    raise ValueError(
      f"config argument: found {arg!r}, expected one of {COLUMNS}, with"
      " ',smoke' to shrink it."
    )
  smoke = ["smoke"] if "smoke" in parts else []
  c = katech_ablation.get_config(",".join([*columns, *smoke]))
  c.system = f"katech_table4_{columns[0]}"
  c.published = published.column(columns[0])
  return c
