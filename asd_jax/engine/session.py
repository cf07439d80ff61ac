"""What every command does first: a config becomes a system with its weights."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from asd_jax.data import clips, hearing
from asd_jax.encoders import load
from asd_jax.engine import (
  adapt,
  crossfit,
  decide,
  detector,
  encode,
  findings,
  gather,
  scoring,
  settings,
  windowed,
)
from asd_jax.engine import opened as opened_lib
from asd_jax.engine import section as section_lib
from asd_jax.engine import system as system_lib
from asd_jax.engine import train as train_lib
from asd_jax.engine.embed import Advance, Embedder
from asd_jax.engine.normals import Normals
from asd_jax.engine.said import Fitted, Judged

_Clips = Sequence[clips.Clip]


def _ignore(*args: Any) -> None:
  del args


class Session:
  """A system with its weights, opened once for all that a command does.

  Programs are compiled at their first use, once a clip length. Nothing of a
  machine is held: its features and its state belong to the caller.

  Args:
    config: complete and checked.
    system: built from it.
    opened: its weights.

  Attributes:
    config: as given.
    system: as given.
    rule: how clips are called anomalous.
  """

  def __init__(
    self,
    config: dict[str, Any],
    system: system_lib.System,
    opened: opened_lib.Opened,
  ) -> None:
    self.config, self.system, self._opened = config, system, opened
    self.rule = decide.read_rule(config)
    self._placed: tuple[section_lib.Section, tuple[Any, ...]] | None = None

  @property
  def embedder(self) -> Embedder:
    """The embedding stage; weights are found when it is first asked for."""
    return self._opened.embedder

  @property
  def batch_size(self) -> int:
    """Clips that are scored at once."""
    return self.embedder.programs.batch_size

  @property
  def num_channels(self) -> int:
    """Channels that a clip must have."""
    return encode.num_channels(self.system.branches)

  @property
  def weights(self) -> dict[str, load.Loaded]:
    """Weights by source, on the device."""
    return self._opened.weights

  @property
  def kept(self) -> dict[str, load.Loaded]:
    """What detectors need: the weights, and those of folds."""
    return self._opened.kept

  @functools.cached_property
  def _gather(self) -> gather.Gatherer:
    return gather.Gatherer(self.embedder, self.config)

  @functools.cached_property
  def _fit(self) -> Callable:
    return system_lib.compiled_fit(self.system)

  @functools.cached_property
  def _fit_states(self) -> Callable:
    fit = system_lib.compiled_states(self.system)
    return functools.partial(fit, self.system.hypers)

  def inputs(self) -> dict[str, str]:
    """Names of what decides the weights, see `Opened.inputs`."""
    return self._opened.inputs()

  def facts(self) -> dict[str, Any]:
    """What results say about the encoders, see `Opened.facts`."""
    return self._opened.facts()

  def require(self) -> None:
    """Reads published weights, so that missing ones are told at once."""
    self._opened.check()

  def adapt(self, carry_out: adapt.CarryOut | None = None) -> list[str]:
    """Trains what is missing of encoders, see `Opened.adapt`."""
    return self._opened.adapt(carry_out)

  @property
  def _refits(self) -> bool:
    """Whether features of a clip depend on which clips were learned from."""
    own = self._opened.num_folds
    return bool(own) or crossfit.refits_features(self.system)

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
    found = self._gather.gather(
      train, fold=None, advance=advance, on_epoch=on_epoch
    )
    return found.normals, hearing.split(found.notes)[0]

  def features(
    self, front: Any, some: _Clips, train: _Clips, advance: Advance = _ignore
  ) -> tuple[Normals, list[str]]:
    """Features alone, of any clips.

    Args:
      front: fitted stages, of `Normals`.
      some: clips.
      train: training clips of their section.
      advance: called with the number of clips done, after each batch.

    Returns:
      Features and order as of training clips, and notes.
    """
    normals, notes = self._gather.clips(front, some, train, advance)
    return normals, hearing.split(notes)[0]

  def keepers(self, train: Sequence[clips.Clip]) -> list[Callable[..., None]]:
    """What keeps the embeddings that `fit` and `score` will look for.

    Args:
      train: training clips of a section.

    Returns:
      `(clips, *, advance)`, see `Embedder.keep`; long recordings come as their
      windows. One, and where features depend on the fold one more for each.

    Raises:
      InputError: for a training clip that cannot be decoded.
    """
    fold = crossfit.fold_of(self.rule, train) if self._refits else None
    num = 0 if fold is None else int(fold.max()) + 1
    others = [self._opened.of_fold(k) for k in range(num)]
    return self._gather.keepers(train, fold, [self.embedder, *others])

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
    is_target = np.array([c.domain == "target" for c in train])
    fold = crossfit.fold_of(self.rule, train)
    found = self._gather.gather(
      train, fold=fold, advance=advance, on_epoch=on_epoch
    )
    notes, usual = self._heard(label, train, found.notes)
    state, own = self._fit(self.system.hypers, found.normals)
    train_scores = np.asarray(own)
    # Said here, by its cause: a threshold of these would accept anything.
    if not np.isfinite(train_scores).all():
      raise findings.too_few(label, train)
    notes += findings.state_notes(self.system, state, label, train)
    limit = decide.limit(
      self.rule, self.system, state, found.normals, train_scores
    )
    facts = findings.section_facts(
      self.system, is_target, train_scores, found.normals.front
    )
    facts["levels"] = usual
    facts["lengths"] = findings.lengths(train, self.config["sample_rate"])
    state = jax.tree.map(np.asarray, state)
    folds = None
    if fold is not None:
      folds = self._cross_fit(found, state, on_epoch)
      train_scores = folds.own
    own = None if folds is None else folds.own
    flagged = windowed.flagged(self.rule, limit, own, is_target)
    facts["windows"] = windowed.facts(train, self.config, flagged)
    section = section_lib.Section(state, folds, limit, self.rule, facts)
    if problem := section.problem():
      notes.append(f"{label}: no decision possible: {problem}")
    return Fitted(section, train_scores, notes)

  def _heard(
    self, label: str, train: _Clips, said: Sequence[str]
  ) -> tuple[list[str], dict[str, list[float]]]:
    """What is odd about training clips, and their usual levels."""
    odd, heard = hearing.split(said)
    usual = hearing.usual([levels for _, levels in heard])
    odd += hearing.of_all(heard, usual)
    notes = [
      *windowed.together(odd, train),
      *findings.sameness_notes(label, train, usual),
      *findings.domain_notes(self.system, self.config, label, train),
    ]
    return notes, usual

  def _cross_fit(
    self,
    found: gather.Gathered,
    state: Any,
    on_epoch: train_lib.OnEpoch,
  ) -> crossfit.Folds:
    """Fits a model without each fold of the training clips."""

    def without(k: int) -> Normals:
      named = lambda name, *args: on_epoch(f"{name}, fold {k + 1}", *args)
      return self._gather.without(
        found,
        k,
        refit=self._refits,
        on_epoch=named,
        embedder=self._opened.of_fold(k),
      )

    assert found.fold is not None
    return crossfit.fit(
      self._fit_states, self.embedder.programs, state, found.fold, without
    )

  def _states(self, section: section_lib.Section) -> tuple[Any, ...]:
    """States on the devices: of the whole fit, then of the folds.

    Those of the last section stay there, for callers that score clip by clip.
    """
    if self._placed is None or self._placed[0] is not section:
      others = section.folds.states if section.folds else ()
      states = (section.state, *others)
      placed = crossfit.placed(states, self.embedder.programs)
      self._placed = section, placed
    return self._placed[1]

  def score(
    self,
    section: section_lib.Section,
    test: Sequence[clips.Clip],
    *,
    advance: Advance = _ignore,
  ) -> Judged:
    """Scores files with a fitted section, long recordings by their windows.

    Args:
      section: the section.
      test: whole files.
      advance: called with the number of windows done, after each batch.

    Returns:
      Scores, p-values and decisions, of each file by itself.

    Raises:
      InputError: for a clip that cannot be used or decoded.
    """
    plan = section.plan(test)
    self.check(plan.clips)
    judged = scoring.score(
      self._opened,
      self._states(section),
      section,
      plan.clips,
      refit=self._refits,
      room=gather.room(self.system, section),
      advance=advance,
    )
    return windowed.join(plan, judged, section)


def open(
  config: Mapping[str, Any],
  *,
  train: Sequence[clips.Clip] | None = None,
  tell: adapt.Tell = adapt.silent,
) -> Session:
  """Prepares a config, builds its system and reads its weights.

  Args:
    config: plain data, see `configs/common.py`.
    train: see `of_config`.
    tell: see `of_config`.

  Returns:
    The session.

  Raises:
    InputError: for a config that a run could not finish with, and weights
      that are missing.
  """
  opened = of_config(settings.prepared(config), train=train, tell=tell)
  opened.require()  # missing weights are told before any clip is read
  return opened


def of_config(
  config: dict[str, Any],
  *,
  train: Sequence[clips.Clip] | None = None,
  tell: adapt.Tell = adapt.silent,
) -> Session:
  """A session whose weights are read, or adapted, when they are first needed.

  Args:
    config: complete and checked.
    train: normal clips to adapt encoders to; those of all machines that the
      config names if None.
    tell: told of networks that are trained, and of each step.

  Returns:
    The session.
  """
  origin = load.Origin(Path(config["weights_dir"]), config["random_weights"])
  system = system_lib.build(config)
  weights = opened_lib.Opened(system, config, origin, train, tell)
  return Session(config, system, weights)


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
  config = {**found.config, "cache": mode}
  origin = detector.weights_of(found, folder)
  weights = opened_lib.Opened(found.system, config, origin, (), adapt.silent)
  opened = Session(config, found.system, weights)
  opened.require()
  return opened
