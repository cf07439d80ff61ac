"""The compiled programs of a system, data-parallel over the local devices."""

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.data.decode import Room, own_room
from asd_jax.engine import encode, sources
from asd_jax.engine import system as system_lib
from asd_jax.engine.branch import Branch
from asd_jax.engine.system import Scores, System
from asd_jax.ops.masks import Ragged
from asd_jax.training import mesh
from asd_jax.typing import Array

Tree = Any
RoomOf = Callable[[int], Room]


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
    self._every = np.ones(self.batch_size, bool)
    self._one: Callable | None = None
    self._takes_turns = jax.default_backend() == "cpu"
    score = functools.partial(system_lib.scores, system, system.hypers)
    self._scores = self._over_clips(score)

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

  def _over_clips(self, fn: Callable, *, in_turn: bool = False) -> Callable:
    """Compiles `fn` of one clip for batches.

    Args:
      fn: its first argument is the same for all clips.
      in_turn: whether rows are computed one after another, and those that are
        no clips not at all; the program's second argument says which are.
    """

    def of_rows(shared: Tree, *rows: Tree) -> Tree:
      return jax.vmap(lambda row: fn(shared, *row))(rows)

    def turns(shared: Tree, keep: Array, *rows: Tree) -> Tree:
      return _in_turn(lambda row: fn(shared, *row), keep, rows)

    each = turns if in_turn else of_rows
    return jax.jit(mesh.spread(each, self._devices, num_shared=1))

  def _named(
    self, kind: str, names: Sequence[str], keep: np.ndarray | None
  ) -> Callable:
    """A program of some branches, made when first asked for.

    Args:
      kind: of the program.
      names: branches.
      keep: `[B]` rows that are clips, which stand first; None if all are.
    """
    chosen, branches = tuple(names), self.system.branches
    if (kind, chosen) not in self._programs:
      of_names = {
        "outputs": lambda f, x, *num: encode.front_outputs(
          branches, f, x, chosen, **_told(num)
        ),
        "augmented": lambda f, x, d, *num: encode.augmented(
          branches[chosen[0]], f, x, d, **_told(num)
        ),
        "features": lambda w, x: encode.features(branches, w, x, chosen),
      }
      # What one clip leaves on its way fits a processor's cache, what a batch
      # does fits none: front ends then take half the time, encoders nine
      # tenths.
      program = self._over_clips(of_names[kind], in_turn=self._takes_turns)
      self._programs[kind, chosen] = program
    program = self._programs[kind, chosen]
    if not self._takes_turns:
      return program
    every = self._every if keep is None else keep
    return lambda shared, *rows: program(shared, every, *rows)

  def outputs(
    self,
    front: Tree,
    wave: np.ndarray,
    names: Sequence[str],
    *,
    num: np.ndarray | None = None,
    most: int | None = None,
    keep: np.ndarray | None = None,
  ) -> dict[str, Any]:
    """What the front ends of some branches make of a batch.

    Args:
      front: states of the fitted stages.
      wave: `[B, C, S]` samples as decoded.
      names: branches.
      num: `[B]` samples of each clip, zeros follow; None where clips fill their
        rows.
      most: none of them is longer; encoders get no more frames than that.
      keep: `[B]` rows that are clips, which stand first; None if all are. The
        others get any numbers.

    Returns:
      `{branch: [B, C', ...]}`, computed while the caller goes on; `Ragged`
      where a shape would depend on `num`.
    """
    told = () if num is None else (num,)
    found = self._named("outputs", names, keep)(front, wave, *told)
    return found if most is None else self._cut(found, most)

  def _cut(self, outputs: Tree, most: int) -> Tree:
    """Leaves encoders as few frames as clips of `most` samples have."""

    def one(branch: Branch, x: Any) -> Any:
      if not isinstance(x, Ragged) or not sources.has_weights(branch.encoder):
        return x
      num = branch.front.frontend.num_frames(most)
      return x._replace(rows=x.rows[:, :, :num])

    return {n: one(self.system.branches[n], x) for n, x in outputs.items()}

  def encoded(
    self,
    outputs: Tree,
    names: Sequence[str],
    *,
    keep: np.ndarray | None = None,
  ) -> dict[str, Any]:
    """Features of a batch of front-end outputs.

    A program of its own: encoders take long to compile, and theirs does not
    depend on the length of the clips but through that of these outputs.

    Args:
      outputs: `{branch: [B, C', ...]}`.
      names: branches.
      keep: see `outputs`.

    Returns:
      `{branch: [B, C', ...]}`, computed while the caller goes on.
    """
    return self._named("features", names, keep)(self.weights, outputs)

  def features(
    self,
    front: Tree,
    wave: np.ndarray,
    *,
    room: RoomOf = own_room,
    keep: np.ndarray | None = None,
  ) -> dict[str, Any]:
    """Features of a batch of samples of one length, of all branches.

    Args:
      front: states of the fitted stages.
      wave: `[B, C, S]` samples as decoded.
      room: samples of a clip to its place, see `lengths.rooms`.
      keep: see `outputs`.

    Returns:
      See `encoded`.
    """
    names, length = tuple(self.system.branches), wave.shape[-1]
    place = room(length)
    told: dict[str, Any] = {}
    if place.shared:
      told = dict(num=np.full(len(wave), length, np.int32), most=place.most)
      wave = np.pad(wave, [(0, 0), (0, 0), (0, place.size - length)])
    outputs = self.outputs(front, wave, names, keep=keep, **told)
    return self.encoded(outputs, names, keep=keep)

  def augmented(
    self,
    name: str,
    front: Tree,
    wave: np.ndarray,
    draw: Tree,
    *,
    num: np.ndarray | None = None,
    most: int | None = None,
    keep: np.ndarray | None = None,
  ) -> Any:
    """Features of clips made from others.

    Args:
      name: of the branch.
      front: states of the fitted stages.
      wave: `[B, C, S]` samples as decoded.
      draw: what each is made with, leading axis B.
      num: see `outputs`.
      most: see `outputs`.
      keep: see `outputs`.

    Returns:
      `[B, C', ...]`.
    """
    told = () if num is None else (num,)
    program = self._named("augmented", [name], keep)
    output = {name: program(front[name], wave, draw, *told)}
    output = output if most is None else self._cut(output, most)
    return self.encoded(output, [name], keep=keep)[name]

  def scores(self, state: Tree, features: Tree) -> Scores:
    """Scores of a batch of features.

    Args:
      state: fitted state.
      features: `{branch: [B, C', ...]}`.

    Returns:
      Scores, each with a leading axis B.
    """
    return self._scores(state, features)

  def score(
    self,
    state: Tree,
    wave: np.ndarray,
    *,
    room: RoomOf = own_room,
  ) -> Scores:
    """Scores of a batch of samples `[B, C, S]`, see `features` and `scores`."""
    return self.scores(state, self.features(state["front"], wave, room=room))

  def clip_features(
    self,
    front: Tree,
    wave: np.ndarray,
    *,
    room: RoomOf = own_room,
  ) -> dict[str, Any]:
    """Features `{branch: [C', ...]}` of one clip `[C, S]`.

    A program of one row, on one device: a batch of copies would cost as many
    forward passes. Where clips share programs, the batch's, which is there.
    """
    if room(wave.shape[-1]).shared:
      batch = np.broadcast_to(wave, (self.batch_size, *wave.shape))
      keep = np.arange(self.batch_size) < 1
      found = self.features(front, batch, room=room, keep=keep)
      return jax.tree.map(lambda x: x[0], found)
    if self._one is None:
      branches = self.system.branches
      self._one = jax.jit(functools.partial(encode.clip_features, branches))
    return self._one(front, self.weights, wave)


def _told(num: tuple[Array, ...]) -> dict[str, Array]:
  """How much of a clip counts, if it is told."""
  return {"num": num[0]} if num else {}


def _in_turn(fn: Callable, keep: Array, rows: Tree) -> Tree:
  """`fn` of one row after another; those behind the clips get the first's."""
  at = lambda i: jax.tree.map(lambda x: x[i], rows)
  num = jnp.maximum(jnp.sum(keep), 1)
  room = jax.tree.map(
    lambda x: jnp.zeros((len(keep), *x.shape), x.dtype),
    jax.eval_shape(fn, at(0)),
  )

  def one(i: Array, out: Tree) -> Tree:
    return jax.tree.map(lambda all_, x: all_.at[i].set(x), out, fn(at(i)))

  found = jax.lax.fori_loop(0, num, one, room)
  fill = jnp.arange(len(keep)) < num
  # Whatever is computed of them stays finite.
  return jax.tree.map(
    lambda x: jnp.where(fill.reshape(-1, *[1] * (x.ndim - 1)), x, x[:1]), found
  )
