"""The weights of a system, and the embedding stages that use them."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from asd_jax.data import clips
from asd_jax.encoders import load
from asd_jax.engine import adapt, adapt_data, adapt_features, frozen, sources
from asd_jax.engine import system as system_lib
from asd_jax.engine.embed import Embedder

_SEEN = (
  "the encoder was adapted to the training clips, which models of folds do not"
  " undo: false alarms may be more than stated (adapt.folds=2,"
  " threshold.folds=2 adapt it without each fold too)"
)


class Opened:
  """Weights that are read, or adapted, when they are first needed.

  Args:
    system: the system.
    config: its config, complete.
    origin: where weights come from.
    train: normal clips to adapt encoders to; those that the config names if
      None.
    tell: told of networks that are trained.
  """

  def __init__(
    self,
    system: system_lib.System,
    config: Mapping[str, Any],
    origin: load.Origin,
    train: Sequence[clips.Clip] | None,
    tell: adapt.Tell,
  ) -> None:
    self._system, self._config, self._origin = system, config, origin
    self._train, self._tell = train, tell
    self._folds: dict[int, Embedder] = {}
    self.num_folds = sources.num_folds(config) if self.adapts else 0

  @property
  def adapts(self) -> bool:
    """Whether an encoder of the system is adapted over machines."""
    branches = self._system.branches.values()
    return any(b.encoder.scope == "run" for b in branches)

  def check(self) -> None:
    """Reads published weights, so that missing ones are told at once."""
    _ = self.embedder if not self.adapts or self._is_detector else self._bases

  @property
  def _is_detector(self) -> bool:
    return self._origin.kept is not None

  @functools.cached_property
  def _bases(self) -> dict[str, load.Loaded]:
    return load.read(sources.published(self._system.branches), self._origin)

  @functools.cached_property
  def _adapters(self) -> list[adapt.Adapter]:
    """What adapts to all clips, and to those outside each fold; may be none."""
    if self._is_detector or not self.adapts:
      return []
    train = self._train
    if train is None:
      train = adapt_data.clips_of(self._config)
    sets = [list(train)]
    if self.num_folds:
      fold = adapt_data.folds_of(train, self.num_folds)
      sets += [
        [c for c, j in zip(train, fold, strict=True) if j != k]
        for k in range(self.num_folds)
      ]
    return [
      adapt.Adapter(
        self._system,
        self._config,
        self._bases,
        some,
        suffix=f", without fold {k}" if k else "",
      )
      for k, some in enumerate(sets)
    ]

  def _about(self, adapter: adapt.Adapter, source: str) -> dict[str, Any]:
    how = self._system.branches[source].source.adapt
    assert how is not None
    shares = adapt_features.near_shares(
      self._config, source, how, self.weights[source], adapter.clips
    )
    return {**adapter.about(source), "near_share": shares}

  def adapt(self, carry_out: adapt.CarryOut | None = None) -> list[str]:
    """Trains the networks that are missing, if the system has any.

    Args:
      carry_out: see `Adapter.train`.

    Returns:
      Labels of networks that were there already.
    """
    there: list[str] = []
    for adapter in self._adapters:
      todo = adapter.todo()
      missing = {n.digest for some in todo for n in some}
      there += [n.label for n in adapter.networks if n.digest not in missing]
      for some in todo:
        adapter.train(some, tell=self._tell, carry_out=carry_out)
    return there

  def _read(self) -> dict[str, load.Loaded]:
    """Weights by source, those of folds by `sources.fold_name`; on the host."""
    wanted = sources.encoders(self._system.branches, num_folds=self.num_folds)
    if self._is_detector:
      return load.read(wanted, self._origin)
    if not self.adapts:
      return self._bases
    whole, *others = [a.get(self._tell) for a in self._adapters]
    for k, found in enumerate(others):
      whole |= {sources.fold_name(n, k): w for n, w in found.items()}
    return {n: whole.get(n) or self._bases[n] for n in wanted}

  @functools.cached_property
  def _opened(self) -> tuple[Embedder, dict[str, load.Loaded]]:
    every = self._read()
    own = {n: every.pop(n) for n in sources.encoders(self._system.branches)}
    embedder = frozen.open_embedder(self._system, own, self._config)
    # Those on the device, so that there is one copy of gigabytes.
    there = embedder.programs
    own = {
      n: w._replace(read=lambda n=n: there.weights[n]) for n, w in own.items()
    }
    self.__dict__.pop("_bases", None)
    for adapter in self._adapters:
      adapter.release()
    return embedder, {**own, **every}

  @property
  def embedder(self) -> Embedder:
    """The embedding stage."""
    return self._opened[0]

  @property
  def weights(self) -> dict[str, load.Loaded]:
    """Weights by source, on the device."""
    every = self._opened[1]
    return {n: every[n] for n in sources.encoders(self._system.branches)}

  @property
  def kept(self) -> dict[str, load.Loaded]:
    """All that a detector needs: the weights, and those of folds."""
    return self._opened[1]

  def inputs(self) -> dict[str, str]:
    """Names of what decides the weights; nothing is trained for them."""
    if not self.adapts:
      return {n: w.digest for n, w in self.weights.items()}
    every = [n for a in self._adapters for n in a.networks]
    published = self._adapters[0].published
    return {
      **{n: w.digest for n, w in published.items()},
      **{n.label: n.digest for n in every},
    }

  def of_fold(self, k: int) -> Embedder:
    """The embedding stage whose encoders have not seen a fold."""
    if not self.num_folds:
      return self.embedder
    if k not in self._folds:
      own = {
        n: self.kept.get(sources.fold_name(n, k), w)
        for n, w in self.weights.items()
      }
      self._folds[k] = frozen.open_embedder(
        self._system, own, self._config, programs=self.embedder.programs
      )
    return self._folds[k]

  def facts(self) -> dict[str, Any]:
    """What results say about the encoders, see `frozen.facts`."""
    found = frozen.facts(self.embedder, self.weights)
    if not self._adapters:
      return found
    adapter = self._adapters[0]
    own = dict.fromkeys(n.source for n in adapter.networks)
    about = {source: self._about(adapter, source) for source in own}
    found["notes"] += [
      n for facts in about.values() for n in facts.pop("notes")
    ]
    found["notes"] += [n for a in self._adapters for n in a.notes]
    found["adapted"] = about
    if self._config["threshold"]["folds"] and not self.num_folds:
      found["notes"].append(_SEEN)
    return found
