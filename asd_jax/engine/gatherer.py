"""Everything that is known of training clips before a system is fitted."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asd_jax.data import clips
from asd_jax.engine import gather
from asd_jax.engine import system as system_lib
from asd_jax.engine import train as train_lib
from asd_jax.engine.embed import Embedder


class Gatherer:
  """Computes features and trains encoders; compiles once per clip length.

  Args:
    embedder: the embedding stage.
    config: the system's config.
  """

  def __init__(self, embedder: Embedder, config: Mapping[str, Any]) -> None:
    self._embedder, self._config = embedder, config
    self._system = embedder.programs.system
    self._fit_front = gather.front_fitter(self._system)
    self._trainers = train_lib.trainers(self._system)

  def normals(
    self,
    train: Sequence[clips.Clip],
    *,
    advance: Callable,
    on_epoch: train_lib.OnEpoch,
  ) -> tuple[system_lib.Normals, list[str]]:
    """Front ends fitted, features computed, clips made, encoders trained.

    Args:
      train: training clips of a section.
      advance: called with the number of clips done, after each batch.
      on_epoch: called with (branch, epochs done, metrics).

    Returns:
      What the system is fitted to, and notes on odd input.
    """
    programs, rate = self._embedder.programs, self._config["sample_rate"]
    front = self._fit_front(train, batch_size=programs.batch_size, rate=rate)
    normals, notes = self.clips(front, train, advance)
    made = gather.make(programs, front, train, rate=rate)
    folder = self._config["training_dir"]
    normals = train_lib.train(
      self._trainers,
      self._system,
      normals.replace(made=made),
      self._config,
      folder=Path(folder) if folder else None,
      on_epoch=on_epoch,
    )
    return normals, notes

  def clips(
    self, front: Any, some: Sequence[clips.Clip], advance: Callable
  ) -> tuple[system_lib.Normals, list[str]]:
    """Features alone, of any clips, and notes on odd input.

    Args:
      front: fitted stages.
      some: clips.
      advance: called with the number of clips done, after each batch.

    Returns:
      Features and order as of training clips, and notes.
    """
    return gather.collect(self._embedder, front, some, advance=advance)
