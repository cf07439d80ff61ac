"""Pictures of a sweep's page: axes, colour bar, marks."""

import itertools
import re

import numpy as np
import pytest

from asd_jax.metrics import choice
from asd_jax.report import sweep

FLAGS = np.arange(8) % 2 > 0, np.arange(8) % 4 > 1


def table_of(**swept):
  """A table over settings; the score falls with the size of the numbers."""
  settings = [
    dict(zip(swept, picked, strict=True))
    for picked in itertools.product(*swept.values())
  ]
  ranks = np.linspace(0.9, 0.5, len(settings))
  values = np.broadcast_to(ranks[:, None, None], (len(settings), 1, 3))
  section = choice.Section("fan", *FLAGS)
  return choice.make_table(tuple(swept), settings, [section], values)


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
  picture = sweep.pictures(table_of(ridge=[10.0**k for k in range(-4, 3)]))
  assert "mathdefault" not in picture
  shown = [words for _, words in texts(picture)]
  for number in ("0.0001", "0.01", "1", "100"):
    assert number in shown


@pytest.mark.parametrize("lowest", [0.5, -100.0])
def test_the_colour_bar_has_its_name_and_numbers_in_the_picture(lowest):
  values = [float(v) for v in range(7)]
  picture = sweep.pictures(table_of(a=[lowest, *values], b=values))
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
  picture = sweep.heat_map(table_of(a=values, b=values), ("a", "b"), range(36))
  outer = picture.index("stroke: #000000; stroke-width: 3.4")
  assert outer < picture.index("stroke: #ffffff; stroke-width: 1.4")
