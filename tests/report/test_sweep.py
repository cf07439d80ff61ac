"""Pictures of a sweep's page: axes, colour bar, marks."""

import itertools
import re

import numpy as np
import pytest

from asd_jax.metrics import choice
from asd_jax.report import sweep, sweep_pictures

FLAGS = np.arange(8) % 2 > 0, np.arange(8) % 4 > 1


def table_of(flags=(FLAGS,), **swept):
  """A table over settings; the score falls with the size of the numbers."""
  settings = [
    dict(zip(swept, picked, strict=True))
    for picked in itertools.product(*swept.values())
  ]
  ranks = np.linspace(0.9, 0.5, len(settings))
  shape = len(settings), len(flags), 3
  values = np.broadcast_to(ranks[:, None, None], shape).copy()
  sections = [choice.Section(f"fan{i}", *own) for i, own in enumerate(flags)]
  for i, (_, is_target) in enumerate(flags):
    if is_target is None:
      values[:, i, :2] = np.nan
  return choice.make_table(tuple(swept), settings, sections, values)


def texts(picture):
  """Words of an SVG with their place across, `[(x, words)]`."""
  # A text stands where its own matrix puts it, or its x.
  found = re.findall(r"<text ([^>]*)>([^<]*)</text>", picture)
  place = re.compile(r'translate\(([-0-9.]+) |x="([-0-9.]+)"')
  return [
    (float(next(filter(None, place.search(a).groups()))), words)
    for a, words in found
  ]


def test_logarithmic_axes_have_plain_numbers():
  table = table_of(ridge=[10.0**k for k in range(-4, 3)])
  picture = sweep_pictures.pictures(table)
  assert "mathdefault" not in picture
  shown = [words for _, words in texts(picture)]
  for number in ("0.0001", "0.01", "1", "100"):
    assert number in shown


@pytest.mark.parametrize("lowest", [0.5, -100.0])
def test_the_colour_bar_has_its_name_and_numbers_in_the_picture(lowest):
  values = [float(v) for v in range(7)]
  picture = sweep_pictures.pictures(table_of(a=[lowest, *values], b=values))
  width = float(re.search(r'viewBox="0 0 ([0-9.]+) ', picture)[1])
  places = texts(picture)
  (name,) = [x for x, words in places if words == "official score (%)"]
  assert max(x for x, _ in places) == pytest.approx(name)
  assert name < width - 5
  numbers = [x for x, words in places if words == "60"]
  assert numbers
  assert max(numbers) + 15 < name


def test_the_mark_is_seen_on_every_colour():
  values = [float(v) for v in range(6)]
  table = table_of(a=values, b=values)
  picture = sweep_pictures.heat_map(table, ("a", "b"), range(36))
  outer = picture.index("stroke: #000000; stroke-width: 3.4")
  assert outer < picture.index("stroke: #ffffff; stroke-width: 1.4")


UNKNOWN = FLAGS[0], None
NAMES = {
  "official score": [FLAGS, FLAGS],
  "pAUC": [UNKNOWN, UNKNOWN],
  "mean of the known values": [FLAGS, UNKNOWN],
}


@pytest.mark.parametrize(
  ("name", "num"), [*((name, 1) for name in NAMES), ("pAUC", 2)]
)
def test_no_score_is_called_official_where_domains_are_unknown(
  name, num, monkeypatch
):
  monkeypatch.setattr(choice, "bootstrap", lambda *_: None)
  swept = {k: [1.0, 2.0, 3.0, 4.0, 5.0] for k in "ab"[:num]}
  table = table_of(NAMES[name], **swept)
  score = lambda i, _: (np.arange(8.0), np.arange(8.0)[None])
  found = {
    "system": "x", "num_points": 5**num, "notes": [],
    **choice.describe(table, score),
  }  # fmt: skip
  page = sweep.page(found, table)
  assert f"best {name} (%)" in page
  assert f"{name} (%)" in [words for _, words in texts(page)]
  assert f'<th scope="col">{name}</th>' in page
  start = {"official score": "Official", "pAUC": "pAUC"}.get(name, "Mean of")
  assert f"<figcaption>{start}" in page
  assert f"all ({name})" in page
  told = page.replace("and no official scores:", "").lower()
  assert ("official score" in told) == (name == "official score")
  # Columns in which nothing stands are left out.
  assert page.count('<th scope="col">pAUC</th>') == 1
  assert ("AUC (source)" in page) == (name != "pAUC")
