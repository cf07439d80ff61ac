import sys

import numpy as np
import pytest

from asd_jax import store
from asd_jax.data import audio, clips
from asd_jax.runs import progress
from asd_jax.runs.sweep import data as sweep_data
from asd_jax.runs.sweep import engine as sweep_engine
from asd_jax.runs.sweep import run as sweep_run
from asd_jax.runs.sweep import table as sweep_table
from tests.runs.sweep import cases

ALPHA = "view.alpha=linspace(-0.5, 1, 7)"


def section(machine="fan", num=16):
  return sweep_data.Section(machine, "00", (), (), *cases.labels(num))


def table(values, machines=("fan", "pump")):
  """Points along one key; the three values of a machine are equal."""
  values = np.asarray(values, float)
  structure = cases.structure(
    [f"weight.one={list(range(1, len(values) + 1))}"], one={}
  )
  wide = np.repeat(values[..., None], 3, axis=2)
  some = [section(m) for m in machines]
  return sweep_run.make_table(["weight.one"], [structure], some, [wide])[0]


def test_rows_leave_missing_cells_empty():
  head, *rows = sweep_table.rows_of(table([[np.nan, 0.5], [0.5, 0.5]]))
  assert head == [
    "weight.one", "machine", "auc_source", "auc_target", "pauc", "score",
  ]  # fmt: skip
  assert [r[1] for r in rows] == ["fan", "pump", "all"] * 2
  assert rows[0][2:] == ["", "", "", ""]
  assert rows[1][2:] == [0.5] * 4
  assert rows[2][2:] == ["", "", "", ""]


class Collector:
  """Stands for the features of a section; counts how often they are made."""

  def __init__(self):
    self.num = 0

  def collect(self, some):
    del some
    self.num += 1
    return cases.clips(), ["a note"]

  def of_structure(self, config, found):
    del config
    return found


@pytest.fixture
def small_chunks(monkeypatch):
  monkeypatch.setattr(sweep_engine, "_FAST_CHUNK", 2)


def structure(**stages):
  found = cases.structure(
    [ALPHA], one=dict(view=dict(name="residual"), **stages)
  )
  return found._replace(config={**found.config, "training_dir": ""})


def sweeper(tmp_path, *structures):
  parts = sweep_run.open_parts(tmp_path / "parts")
  return sweep_run.Sweeper(structures, parts, progress.Progress(quiet=True))


def count_runs(monkeypatch, *, stop_after=None):
  """Counts the chunks that are computed; may kill the sweep on the way."""
  done, run = [], sweep_engine.Engine.run

  def counted(self, *args):
    if len(done) == stop_after:
      raise KeyboardInterrupt
    done.append(args[2])
    return run(self, *args)

  monkeypatch.setattr(sweep_engine.Engine, "run", counted)
  return done


def test_a_killed_sweep_goes_on_where_it_stopped(
  tmp_path, monkeypatch, small_chunks
):
  one, some = structure(), section()
  want = sweeper(tmp_path / "whole", one).values(0, some, Collector())
  with monkeypatch.context() as patch:
    first = count_runs(patch, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
      sweeper(tmp_path, one).values(0, some, Collector())
  second = count_runs(monkeypatch)
  got = sweeper(tmp_path, one).values(0, some, Collector())
  np.testing.assert_array_equal(got, want)
  assert len(first) == 2
  assert not set(first) & set(second)
  assert len(second) >= 2
  # Scores lie there once, a file a chunk, and the values beside them.
  kept = list((tmp_path / "parts").iterdir())
  assert len(kept) == len({*first, *second}) + 1


def test_a_finished_sweep_computes_nothing_again(tmp_path, monkeypatch):
  one, some = structure(), section()
  want = sweeper(tmp_path, one).values(0, some, Collector())
  done, collector = count_runs(monkeypatch), Collector()
  again = sweeper(tmp_path, one)
  np.testing.assert_array_equal(again.values(0, some, collector), want)
  assert (done, collector.num) == ([], 0)
  fused, seeds = again.scores_at(0, some, 3)
  assert fused.shape == (16,)
  assert seeds.shape == (1, 16)


def test_other_settings_and_clips_do_not_take_old_parts(tmp_path, monkeypatch):
  sweeper(tmp_path, structure()).values(0, section(), Collector())
  done = count_runs(monkeypatch)
  changed = structure(backend=dict(name="knn", k=2))
  sweeper(tmp_path, changed).values(0, section(), Collector())
  assert len(done) == 1
  sweeper(tmp_path, structure()).values(0, section("pump"), Collector())
  assert len(done) == 2


def test_a_users_stage_that_was_edited_does_not_take_old_parts(
  tmp_path, monkeypatch
):
  monkeypatch.syspath_prepend(tmp_path)
  file = tmp_path / "own_mean.py"
  done = count_runs(monkeypatch)
  for text, num in (("1.0", 1), ("1.0", 1), ("2.0", 2)):
    code = f"def pool(x) -> Array:\n  return {text} * x.mean(0)\n"
    file.write_text(f"from asd_jax.typing import Array\n{code}")
    one = structure(pooling=dict(name="own_mean:pool"))
    sweeper(tmp_path, one).values(0, section(), Collector())
    assert len(done) == num
  del sys.modules["own_mean"]


def test_recordings_are_told_by_their_bytes(tmp_path):
  def clip(name, content, domain="source"):
    path = tmp_path / name
    path.write_bytes(content)
    header = audio.Header(1, 1, 16_000, "PCM_16")
    return clips.Clip(path, "fan", "00", "train", domain, None, "", header)

  def told(*some):
    one = section()._replace(train=some)
    return store.digest(one.content())

  first = told(clip("a", b"1"), clip("b", b"2"))
  assert told(clip("c", b"1"), clip("d", b"2")) == first
  for other in (
    (clip("c", b"1"), clip("e", b"3")),
    (clip("d", b"2"), clip("c", b"1")),
    (clip("c", b"1"), clip("d", b"2", domain="target")),
  ):
    assert told(*other) != first


def test_a_broken_part_is_computed_again(tmp_path, monkeypatch):
  one, some = structure(), section()
  want = sweeper(tmp_path, one).values(0, some, Collector())
  done = count_runs(monkeypatch)
  # The values, and the scores that they come from.
  for part in sorted((tmp_path / "parts").iterdir()):
    part.write_bytes(part.read_bytes()[:100])
    again = sweeper(tmp_path, one)
    got = again.values(0, some, Collector())
    np.testing.assert_array_equal(got, want)
    assert again.scores_at(0, some, 3)[0].shape == (16,)
    assert f"{part}: found damaged content, made again" in again.parts.notes()
  assert len(done) == 1


def test_structures_share_features_unless_they_move_them(monkeypatch):
  several = [structure(), structure(backend=dict(name="knn", k=2))]
  other = structure(pooling=dict(name="mean_std"))
  configs = [s.config for s in (*several, other)]
  assert list(sweep_data.by_passes(configs)) == [[0, 1], [2]]
  done = []

  def computed(self, some):
    done.append(some.name)
    return cases.clips(), ["a note"]

  monkeypatch.setattr(sweep_data.Collector, "_computed", computed)
  quiet = progress.Progress(quiet=True)
  collector = sweep_data.Collector(configs[:2], quiet)
  notes = [collector.collect(section())[1] for _ in range(2)]
  assert (done, notes) == (["fan 00"], [["a note"], []])
  # What is too large to be held is computed again.
  monkeypatch.setattr(sweep_data, "_MOST_HELD", 10)
  collector = sweep_data.Collector(configs[:2], quiet)
  for _ in range(2):
    collector.collect(section())
  assert done == ["fan 00"] * 3


def test_one_structure_after_the_other_has_programs(tmp_path, monkeypatch):
  monkeypatch.setattr(sweep_data.Collector, "open", lambda self: {})
  monkeypatch.setattr(sweep_data.Collector, "close", lambda self: {})
  monkeypatch.setattr(
    sweep_data.Collector, "_computed", lambda self, some: (cases.clips(), [])
  )
  made, engine = [], sweep_engine.Engine
  monkeypatch.setattr(
    sweep_engine, "Engine", lambda s, fast: made.append(s) or engine(s)
  )
  some = [structure(backend=dict(name="knn", k=k)) for k in (1, 2)]
  one = sweeper(tmp_path, *some)
  sections = [section(), section("pump")]
  found, _ = sweep_run.measure(one, some, sections, one._progress)
  assert made == some
  assert one._engine is None
  assert [v.shape for v in found] == [(7, 2, 3)] * 2
  assert not np.array_equal(*found)
  assert one.scores_at(1, sections[0], 0)[0].shape == (16,)
