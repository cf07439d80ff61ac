"""The compiled programs of a system, data-parallel over the local devices."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.pipelines.build import Scores, System
from asd_jax.typing import Array

Tree = Any
_CLIPS = "clips"


class Programs:
  """Programs of batches of clips; each clip's result depends on it alone.

  Rows of a batch are divided among the devices of this process, each of which
  holds all weights and states.

  Args:
    system: the system, at the hyperparameters of its config.
    weights: parameters of its frozen encoders by source.
    batch_size: rows of a batch, rounded up to a multiple of the devices.

  Attributes:
    system: the system.
    batch_size: rows B of every batch.
  """

  def __init__(self, system: System, weights: Tree, batch_size: int) -> None:
    devices = jax.local_devices()
    self.system = system
    self.batch_size = -(-batch_size // len(devices)) * len(devices)
    self._mesh = jax.sharding.Mesh(np.array(devices), (_CLIPS,))
    spec = jax.sharding.PartitionSpec
    everywhere = jax.sharding.NamedSharding(self._mesh, spec())
    self._weights = jax.device_put(weights, everywhere)
    self._by_names: dict[tuple[str, ...], Callable] = {}
    score = lambda state, x: system.scores(system.hypers, state, x)
    self._scores = self._over_clips(score, num_shared=1)
    self._made: dict[str, Callable] = {}

  def _over_clips(self, fn: Callable, *, num_shared: int) -> Callable:
    """Compiles `fn` of one clip for batches; the first arguments are shared."""
    spec = jax.sharding.PartitionSpec

    def of_rows(*args: Tree) -> Tree:
      rows = args[num_shared:]
      return jax.vmap(lambda *one: fn(*args[:num_shared], *one))(*rows)

    def of_batch(*args: Tree) -> Tree:
      rows = [spec(_CLIPS)] * (len(args) - num_shared)
      return jax.shard_map(
        of_rows,
        mesh=self._mesh,
        in_specs=(*[spec()] * num_shared, *rows),
        out_specs=spec(_CLIPS),
        check_vma=False,
      )(*args)

    return jax.jit(of_batch)

  def features(
    self, front: Tree, wave: np.ndarray, names: Sequence[str] | None = None
  ) -> dict[str, Array]:
    """Features of a batch, of some branches or all.

    Args:
      front: states of the fitted stages.
      wave: `[B, C, S]` samples as decoded.
      names: branches; all if None.

    Returns:
      `{branch: [B, C', ...]}`, computed while the caller goes on.
    """
    chosen = tuple(self.system.branches if names is None else names)
    if chosen not in self._by_names:
      one = lambda front, weights, x: self.system.features(
        front, weights, x, chosen
      )
      self._by_names[chosen] = self._over_clips(one, num_shared=2)
    return self._by_names[chosen](front, self._weights, wave)

  def made(self, name: str, front: Tree, wave: np.ndarray, draw: Tree) -> Array:
    """Features of clips made from others.

    Args:
      name: of the branch.
      front: states of the fitted stages.
      wave: `[B, C, S]` samples as decoded.
      draw: what each is made with, leading axis B.

    Returns:
      `[B, C', ...]`.
    """
    if name not in self._made:
      one = lambda front, weights, x, d: self.system.made(
        name, front, weights, x, d
      )
      self._made[name] = self._over_clips(one, num_shared=2)
    return self._made[name](front, self._weights, wave, draw)

  def scores(self, state: Tree, features: Tree) -> Scores:
    """Scores of a batch of features.

    Args:
      state: fitted state.
      features: `{branch: [B, C', ...]}`.

    Returns:
      Scores, each with a leading axis B.
    """
    return self._scores(state, features)

  def score(self, state: Tree, wave: np.ndarray) -> Scores:
    """Scores of a batch of samples `[B, C, S]`, see `scores`."""
    return self.scores(state, self.features(state["front"], wave))

  def clip_features(self, front: Tree, wave: np.ndarray) -> dict[str, Array]:
    """Features `{branch: [C', ...]}` of one clip `[C, S]`."""
    batch = np.broadcast_to(wave, (self.batch_size, *wave.shape))
    found = self.features(front, np.ascontiguousarray(batch))
    return jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[0]), found)
