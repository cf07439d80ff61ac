"""Folders of parameters, written and read."""

import numpy as np

from asd_jax.weights import folder

ABOUT = {"family": "beats", "source": "here", "encoder": {}, "digest": ""}
# A head without running statistics, as gated ones are.
TREE = {"head": {"params": {"w": np.ones((1, 3), np.float32)}, "stats": {}}}
SHAPES = {"head/params/w": (1, 3)}


def test_mappings_that_hold_nothing_are_left_out(tmp_path, monkeypatch):
  place = tmp_path / "now"
  folder.write(place, TREE, ABOUT)
  found, values = folder.read(place, SHAPES)
  assert found == {"head": {"params": found["head"]["params"]}}
  np.testing.assert_array_equal(found["head"]["params"]["w"], [[1.0, 1.0, 1.0]])
  # Earlier versions wrote them.
  old = tmp_path / "before"
  with monkeypatch.context() as m:
    m.setattr(folder, "plain", lambda tree: tree)
    folder.write(old, TREE, ABOUT)
  again, same = folder.read(old, SHAPES)
  assert same == values
  assert again.keys() == found.keys()
  assert again["head"].keys() == {"params"}
