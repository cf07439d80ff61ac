"""Crops of a clip and the average of their embeddings."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.ops import crops


@pytest.mark.golden
def test_table_of_the_reference(golden):
  known = golden("losses")
  params = json.loads(str(known["tta/table/params"]))
  ratios, starts = (
    known[f"tta/table/out/{name}"] for name in ("ratio", "start")
  )
  found = crops.crop_table(
    params["n"], shortest=params["low"], longest=params["high"]
  )
  np.testing.assert_allclose(found, np.stack([ratios, starts], 1), atol=1e-12)


@pytest.mark.golden
def test_average_of_the_reference(golden):
  known = golden("losses")
  emb = known["tta/embedding/in/embeddings"]  # [K, D]
  got = crops.join_crops(jnp.asarray(emb)[:, None])
  np.testing.assert_allclose(got[0], known["tta/embedding/out/y"], atol=1e-6)


@pytest.mark.golden
def test_single_crops_of_the_reference(golden, monkeypatch):
  known = golden("losses")
  cases = [k for k in known.files if k.startswith("temporal_crop/")]
  names = {k.split("/")[1] for k in cases}
  assert names
  for name in names:
    params = json.loads(str(known[f"temporal_crop/{name}/params"]))
    table = [(params["ratio"], params["start"])]
    monkeypatch.setattr(crops, "crop_table", lambda *a, t=table, **k: t)
    wave = jnp.asarray(known[f"temporal_crop/{name}/in/wave"])
    got = crops.cut_crops(wave, num=1, shortest=0.0)[0]
    np.testing.assert_array_equal(got, known[f"temporal_crop/{name}/out/wave"])


def test_crops_of_the_whole_clip_change_nothing_but_the_length():
  whole = crops.crops(num=3, shortest=1.0)
  wave = jax.random.normal(jax.random.key(0), (2, 50))
  np.testing.assert_array_equal(whole.cut(wave), jnp.stack([wave] * 3))
  emb = jnp.stack([jnp.arange(12.0).reshape(2, 3, 2)] * 3)
  joined = np.asarray(whole.join(emb)).reshape(2, -1)
  want = np.asarray(emb[0]).reshape(2, -1)
  want = want / np.linalg.norm(want, axis=1, keepdims=True)
  np.testing.assert_allclose(joined, want, rtol=1e-6)


def test_an_embedding_of_zeros_stays_finite():
  assert np.isfinite(crops.join_crops(jnp.zeros((3, 2, 4)))).all()
