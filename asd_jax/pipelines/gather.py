"""Everything that is known of training clips before a system is fitted."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from asd_jax.data import clips
from asd_jax.pipelines import build, features, members
from asd_jax.pipelines import progress as progress_lib


class Gatherer:
  """Computes features and trains encoders; compiles once per clip length.

  Args:
    system: the system.
    config: its config.
    progress: where progress is shown.

  Attributes:
    features: `(front, [B, C, S]) -> {branch: [B, C, ...]}`, compiled.
  """

  def __init__(
    self,
    system: build.System,
    config: Mapping[str, Any],
    progress: progress_lib.Progress,
  ) -> None:
    self._system, self._config, self._progress = system, config, progress
    self._reading = {
      "batch_size": config["batch_size"],
      "rate": config["sample_rate"],
    }
    self.features = jax.jit(jax.vmap(system.features, in_axes=(None, 0)))
    self._fit_front = features.front_fitter(system)
    self._make = features.maker(system)
    self._trainers = members.trainers(system)

  def normals(
    self, label: str, train: Sequence[clips.Clip], advance: Callable
  ) -> tuple[build.Normals, list[str]]:
    """Front ends fitted, features computed, clips made, encoders trained.

    Args:
      label: of the section, for progress.
      train: its training clips.
      advance: called with the number of clips done, after each batch.

    Returns:
      What the system is fitted to, and notes on odd input.
    """
    front = self._fit_front(train, **self._reading)
    normals, notes = self.clips(front, train, advance)
    made = self._make(front, train, **self._reading)
    folder = self._config["training_dir"]
    normals = members.train(
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
  ) -> tuple[build.Normals, list[str]]:
    """Features alone, of any clips, and notes on odd input.

    Args:
      front: fitted stages.
      some: clips.
      advance: called with the number of clips done, after each batch.

    Returns:
      Features and order as of training clips, and notes.
    """
    return features.collect(
      self.features, front, some, advance=advance, **self._reading
    )
