"""The compiled programs of a system, data-parallel over the local devices."""

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from asd_jax.engine import encode
from asd_jax.engine import system as system_lib
from asd_jax.engine.system import Scores, System
from asd_jax.training import mesh
from asd_jax.typing import Array

Tree = Any


class Programs:
  """Programs of batches of clips; each clip's result depends on it alone.

  Rows of a batch are divided among the devices of this process, each of which
  holds all weights and states.

  Args:
    system: the system, at the hyperparameters of its config.
    weights: gives the parameters of its frozen encoders by source; asked when
      they are first needed.
    batch_size: rows of a batch, rounded up to a multiple of the devices.

  Attributes:
    system: the system.
    batch_size: rows B of every batch.
  """

  def __init__(
    self, system: System, weights: Callable[[], Tree], batch_size: int
  ) -> None:
    self.system = system
    self._devices = mesh.local()
    self.batch_size = mesh.filled(batch_size, self._devices)
    self._read: Callable[[], Tree] | None = weights
    self._programs: dict[tuple[str, tuple[str, ...]], Callable] = {}
    self._one: Callable | None = None
    score = functools.partial(system_lib.scores, system, system.hypers)
    self._scores = self._over_clips(score, num_shared=1)

  @functools.cached_property
  def weights(self) -> Tree:
    """Parameters of frozen encoders by source, on the devices."""
    # Copied once, not at every call; whoever read them lets go of them.
    read, self._read = self._read, None
    assert read is not None
    leaves, tree = jax.tree.flatten(read())
    # What several encoders have in common goes there once.
    once = {id(x): x for x in leaves}
    there = dict(zip(once, self.place([*once.values()]), strict=True))
    return tree.unflatten([there[id(x)] for x in leaves])

  def with_weights(self, read: Callable[[], Tree]) -> "Programs":
    """The same programs with other weights; nothing is compiled again."""
    other = copy.copy(self)
    other.__dict__.pop("weights", None)
    other._read = read
    return other

  def place(self, tree: Tree) -> Tree:
    """Copies arrays to all devices of this process."""
    return mesh.everywhere(tree, self._devices)

  def _over_clips(
    self, fn: Callable, *, num_shared: int, in_turn: bool = False
  ) -> Callable:
    """Compiles `fn` of one clip for batches; the first arguments are shared."""

    def of_rows(*args: Tree) -> Tree:
      one = lambda row: fn(*args[:num_shared], *row)
      each = jax.lax.map if in_turn else lambda f, rows: jax.vmap(f)(rows)
      return each(one, args[num_shared:])

    return jax.jit(mesh.spread(of_rows, self._devices, num_shared=num_shared))

  def _named(self, kind: str, names: Sequence[str]) -> Callable:
    """A program of some branches, made when first asked for."""
    chosen, branches = tuple(names), self.system.branches
    if (kind, chosen) not in self._programs:
      of_names = {
        "outputs": lambda f, x: encode.front_outputs(branches, f, x, chosen),
        "augmented": lambda f, x, d: encode.augmented(
          branches[chosen[0]], f, x, d
        ),
        "features": lambda w, x: encode.features(branches, w, x, chosen),
      }
      # What one clip leaves on its way fits a processor's cache, what a batch
      # does fits none: front ends then take half the time, encoders nine
      # tenths.
      in_turn = jax.default_backend() == "cpu"
      program = self._over_clips(of_names[kind], num_shared=1, in_turn=in_turn)
      self._programs[kind, chosen] = program
    return self._programs[kind, chosen]

  def outputs(
    self, front: Tree, wave: np.ndarray, names: Sequence[str]
  ) -> dict[str, Array]:
    """What the front ends of some branches make of a batch.

    Args:
      front: states of the fitted stages.
      wave: `[B, C, S]` samples as decoded.
      names: branches.

    Returns:
      `{branch: [B, C', ...]}`, computed while the caller goes on.
    """
    return self._named("outputs", names)(front, wave)

  def encoded(self, outputs: Tree, names: Sequence[str]) -> dict[str, Array]:
    """Features of a batch of front-end outputs.

    A program of its own: encoders take long to compile, and theirs does not
    depend on the length of the clips but through that of these outputs.

    Args:
      outputs: `{branch: [B, C', ...]}`.
      names: branches.

    Returns:
      `{branch: [B, C', ...]}`, computed while the caller goes on.
    """
    return self._named("features", names)(self.weights, outputs)

  def features(self, front: Tree, wave: np.ndarray) -> dict[str, Array]:
    """Features of a batch of samples, of all branches; see `encoded`."""
    names = tuple(self.system.branches)
    return self.encoded(self.outputs(front, wave, names), names)

  def augmented(
    self, name: str, front: Tree, wave: np.ndarray, draw: Tree
  ) -> Array:
    """Features of clips made from others.

    Args:
      name: of the branch.
      front: states of the fitted stages.
      wave: `[B, C, S]` samples as decoded.
      draw: what each is made with, leading axis B.

    Returns:
      `[B, C', ...]`.
    """
    output = self._named("augmented", [name])(front[name], wave, draw)
    return self.encoded({name: output}, [name])[name]

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
    """Features `{branch: [C', ...]}` of one clip `[C, S]`.

    A program of one row, on one device: a batch of copies would cost as many
    forward passes.
    """
    if self._one is None:
      branches = self.system.branches
      self._one = jax.jit(functools.partial(encode.clip_features, branches))
    return self._one(front, self.weights, wave)
