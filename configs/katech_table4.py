"""KATECH's table 4: noise transfer, AdaSub and CohGate, machine by machine.

Run: python scripts/evaluate.py --config=configs/katech_table4.py:ada_sub
  --config.data_dir=DIR --config.output_dir=OUT
or both columns, G and the label oracle beside the published table:
python scripts/katech_ablation.py --data_dir=DIR --output=OUT --table=4

`coh_gate` is the other column; with `,smoke` it is shrunk to synthetic data and
seconds.
"""

from configs import common, katech_ablation, published

COLUMNS = tuple(published.KATECH_COLUMNS)


def get_config(arg=""):
  """Builds the config of a column, `"ada_sub"` or `"ada_sub,smoke"`."""
  column, smoke = common.choice(arg, COLUMNS)
  c = katech_ablation.get_config(f"{column},{smoke}")
  c.system = f"katech_table4_{column}"
  c.published = published.column(column)
  return c
