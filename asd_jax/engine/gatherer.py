"""Everything that is known of training clips before a system is fitted."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asd_jax.data import clips
from asd_jax.engine import gather
from asd_jax.engine import system as system_lib
from asd_jax.engine import train as train_lib
from asd_jax.engine.embed import Embedder
from asd_jax.runs import progress as progress_lib


class Gatherer:
  """Computes features and trains encoders; compiles once per clip length.

  Args:
    embedder: the embedding stage.
    config: the system's config.
    progress: where progress is shown.
  """

  def __init__(
    self,
    embedder: Embedder,
    config: Mapping[str, Any],
    progress: progress_lib.Progress,
  ) -> None:
    self._embedder, self._config = embedder, config
    self._progress = progress
    self._system = embedder.programs.system
    self._fit_front = gather.front_fitter(self._system)
    self._trainers = train_lib.trainers(self._system)

  def normals(
    self, label: str, train: Sequence[clips.Clip], advance: Callable
  ) -> tuple[system_lib.Normals, list[str]]:
    """Front ends fitted, features computed, clips made, encoders trained.

    Args:
      label: of the section, for progress.
      train: its training clips.
      advance: called with the number of clips done, after each batch.

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
      on_epoch=self._progress.epochs(label),
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
