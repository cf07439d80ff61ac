"""What every command does first: a config becomes a system with its weights."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax import errors
from asd_jax.data import clips
from asd_jax.encoders import load
from asd_jax.engine import (
  detector,
  encode,
  findings,
  frozen,
  gather,
  settings,
  thresholds,
)
from asd_jax.engine import system as system_lib
from asd_jax.engine import train as train_lib
from asd_jax.engine.embed import Advance, Embedder
from asd_jax.engine.normals import Normals


def _section_facts(
  system: system_lib.System, train_scores: np.ndarray, front: Any
) -> dict[str, Any]:
  """What a detector says of its training clips, beside its state."""
  return {
    "num_train": len(train_scores),
    "training_scores": {
      n: b.detect.reference for n, b in system.branches.items()
    },
    "train_scores": [float(s) for s in np.sort(train_scores)],
    # Over frequency; [KATECH26] calls it G.
    "noise_transfer": {
      n: float(np.median(x))
      for n, x in findings.noise_transfers(system.branches, front).items()
    },
  }


class Fitted(NamedTuple):
  """One section after its fit.

  Attributes:
    section: ready to score, and to be saved.
    train_scores: `[N]` scores of the training clips.
    notes: odd but fine input.
  """

  section: detector.Section
  train_scores: np.ndarray
  notes: list[str]


def _ignore(*args: Any) -> None:
  del args


class Session:
  """A system with its weights, opened once for all that a command does.

  Programs are compiled at their first use, once a clip length. Nothing of a
  machine is held: its features and its state belong to the caller.

  Args:
    config: complete and checked.
    system: built from it.
    origin: where the weights of its frozen encoders come from.

  Attributes:
    config: as given.
    system: as given.
  """

  def __init__(
    self,
    config: dict[str, Any],
    system: system_lib.System,
    origin: load.Origin,
  ) -> None:
    self.config, self.system, self._origin = config, system, origin

  @functools.cached_property
  def _opened(self) -> tuple[Embedder, dict[str, load.Loaded]]:
    wanted = encode.encoders(self.system.branches)
    loaded = load.read(wanted, self._origin)
    embedder = frozen.open_embedder(self.system, loaded, self.config)
    # Those on the device, so that there is one copy of gigabytes.
    params = embedder.programs.weights
    return embedder, {
      n: w._replace(params=params[n]) for n, w in loaded.items()
    }

  @property
  def embedder(self) -> Embedder:
    """The embedding stage; weights are read when it is first asked for."""
    return self._opened[0]

  @property
  def weights(self) -> dict[str, load.Loaded]:
    """Weights by source, on the device."""
    return self._opened[1]

  @functools.cached_property
  def _gather(self) -> gather.Gatherer:
    return gather.Gatherer(self.embedder, self.config)

  @functools.cached_property
  def _fit(self) -> Callable:
    return system_lib.compiled_fit(self.system)

  def facts(self) -> dict[str, Any]:
    """What results say about the frozen encoders, see `frozen.facts`."""
    return frozen.facts(self.embedder, self.weights)

  def check(self, some: Sequence[clips.Clip]) -> None:
    """Refuses clips that the system cannot use, before any is decoded.

    Args:
      some: clips.

    Raises:
      InputError: for a clip with too few channels or samples.
    """
    gather.check(self.system, some, self.config["sample_rate"])

  def normals(
    self,
    train: Sequence[clips.Clip],
    *,
    advance: Advance = _ignore,
    on_epoch: train_lib.OnEpoch = _ignore,
  ) -> tuple[Normals, list[str]]:
    """All that is known of a section's training clips before the fit.

    Args:
      train: training clips.
      advance: called with the number of clips done, after each batch.
      on_epoch: called with (branch, epochs done, metrics).

    Returns:
      What the system is fitted to, and notes on odd input.
    """
    return self._gather.normals(train, advance=advance, on_epoch=on_epoch)

  def features(
    self, front: Any, some: Sequence[clips.Clip], advance: Advance = _ignore
  ) -> tuple[Normals, list[str]]:
    """Features alone, of any clips.

    Args:
      front: fitted stages, of `Normals`.
      some: clips.
      advance: called with the number of clips done, after each batch.

    Returns:
      Features and order as of training clips, and notes.
    """
    return self._gather.clips(front, some, advance)

  def fit(
    self,
    label: str,
    train: Sequence[clips.Clip],
    *,
    advance: Advance = _ignore,
    on_epoch: train_lib.OnEpoch = _ignore,
  ) -> Fitted:
    """Fits one section; features of its clips are let go.

    Args:
      label: machine and section, for notes and messages.
      train: its training clips.
      advance: called with the number of clips done, after each batch.
      on_epoch: called with (branch, epochs done, metrics).

    Returns:
      The fitted section.

    Raises:
      InputError: for bad input, and scores that are not finite.
    """
    self.check(train)
    normals, notes = self.normals(train, advance=advance, on_epoch=on_epoch)
    notes += findings.domain_notes(self.system, self.config, label, train)
    state, own = self._fit(self.system.hypers, normals)
    train_scores = np.asarray(own)
    # Said here, by its cause: a threshold of these would accept anything.
    if not np.isfinite(train_scores).all():
      raise errors.InputError(
        f"{label}: found training scores that are not finite; the bank is too"
        " small or degenerate for this backend."
      )
    notes += findings.state_notes(self.system, state, label, train)
    rules = thresholds.thresholds(
      self.system, state, normals, train_scores, self.config
    )
    rule = self.config["threshold"]["name"]
    if rules[rule] is None:
      notes.append(
        f"{label}: {len(train)} training clips are too few for the false-alarm"
        " rate, no clip can be called anomalous"
      )
    facts = _section_facts(self.system, train_scores, normals.front)
    section = detector.Section(state, rules, rule, facts)
    return Fitted(section, train_scores, notes)

  def score(
    self,
    section: detector.Section,
    test: Sequence[clips.Clip],
    *,
    advance: Advance = _ignore,
  ) -> tuple[system_lib.Scores, list[str]]:
    """Scores clips with a fitted section.

    Args:
      section: the section.
      test: clips.
      advance: called with the number of clips done, after each batch.

    Returns:
      Scores in the order of the clips, leading axis Q, and notes.

    Raises:
      InputError: for a clip that cannot be used or decoded.
    """
    self.check(test)
    parts, order, notes = [], [], []
    for rows, scores, new in gather.score(
      self.embedder, section.state, test, advance=advance
    ):
      parts.append(scores)
      order.append(rows)
      notes += new
    if not parts:
      none: Any = dict(fused=np.zeros(0), seeds=np.zeros((0, 1)))
      return system_lib.Scores(**none, members={}), notes
    # Batches come by shape and by what the cache holds, not as given.
    back = np.argsort(np.concatenate(order))
    return jax.tree.map(lambda *x: np.concatenate(x)[back], *parts), notes


def open(config: Mapping[str, Any]) -> Session:
  """Prepares a config, builds its system and reads its weights.

  Args:
    config: plain data, see `configs/common.py`.

  Returns:
    The session.

  Raises:
    InputError: for a config that a run could not finish with, and weights
      that are missing.
  """
  opened = of_config(settings.prepared(config))
  _ = opened.embedder  # missing weights are told before any clip is read
  return opened


def of_config(config: dict[str, Any]) -> Session:
  """A session whose weights are read when they are first needed.

  Args:
    config: complete and checked.

  Returns:
    The session.
  """
  origin = load.Origin(Path(config["weights_dir"]), config["random_weights"])
  return Session(config, system_lib.build(config), origin)


def of_detector(found: detector.Detector, folder: Path) -> Session:
  """The session that a detector was fitted in, to score more clips.

  Args:
    found: the detector.
    folder: where it was read from, `OUT/detectors/<machine>`.

  Returns:
    The session.

  Raises:
    InputError: if weights are missing from `OUT/encoders`, or damaged.
  """
  # What the run kept may be read; nothing is kept of clips scored later.
  mode = "off" if found.config["cache"] == "off" else "readonly"
  opened = Session(
    {**found.config, "cache": mode},
    found.system,
    detector.weights_of(found, folder),
  )
  _ = opened.embedder
  return opened
