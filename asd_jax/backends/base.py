"""A backend is three pure functions; a wrapper maps a backend to another."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax.ops import distance, statistics
from asd_jax.typing import Array

State = Any
Notes = Callable[[State, "NumClips"], list[str]]


class Mix(flax.struct.PyTreeNode):
  """Mixed rows that a bank has without holding them: one for every pair.

  Attributes:
    weight: `[]` weight of the target row of a pair.
    target: `[N]` True for its target rows.
    source: `[N]` True for its source rows.
  """

  weight: Array
  target: Array
  source: Array


class Bank(flax.struct.PyTreeNode):
  """Normal training embeddings of one machine.

  Attributes:
    emb: `[N, ...]` embeddings.
    is_target: `[N]` True for target-domain rows.
    valid: `[N]` False for rows that do not count.
    group: `[N]` int32; rows made from one clip share its number, and leave
      the bank together.
    key: `[N, ...]` a second vector a row, for prototype selection, or None.
    covariance: `[2, M, M]` of source and target training frames, gathered by
      an encoder that was trained on them, or None.
    moments: of all frames of the source and of the target clips, every array
      with a leading axis of the two domains; None unless the backend works on
      frames, which are not kept.
    fourth: `[]` mean of the fourth power of these frames' distance from their
      mean, for backends with `needs_fourth`; or None.
    mix: mixed rows, which count as target rows and never leave the bank, for
      backends with `mixes`; or None.
    centre_by: `[N]` rows whose mean is subtracted before distances, which it
      changes by rounding only; None for those that count. Models of folds
      subtract that of all clips, so that they have their rows in common.
    num_target: how many rows at most are of the target domain, a constant of
      the program.
    unit: the backend compares directions: its metric scales rows to length
      one.
  """

  emb: Array
  is_target: Array
  valid: Array
  group: Array
  key: Array | None = None
  covariance: Array | None = None
  moments: statistics.Moments | None = None
  fourth: Array | None = None
  mix: Mix | None = None
  centre_by: Array | None = None
  # Not an array: it decides how many rows are made from target rows.
  num_target: int = flax.struct.field(pytree_node=False, default=0)
  # It decides how rows are made, too.
  unit: bool = flax.struct.field(pytree_node=False, default=False)


class NumClips(NamedTuple):
  """Training clips of each domain."""

  source: int
  target: int


class Backend(NamedTuple):
  """Fits on a bank, then scores one clip at a time. Higher is more anomalous.

  Attributes:
    fit: `(Bank) -> State`, sees normal training clips only.
    score: `(State, emb) -> []`, sees one clip, so no score can depend on
      another test clip; a batch is its `vmap`.
    self_score: `(State, emb, group []) -> []`, score of a training clip: the
      rows of its group are left out, the rest of the state stays as fitted.
      None where the backend has only in-sample scores.
    over_frames: `emb` is the frames `[T, D]` of a clip, and `fit` gets their
      moments instead of embeddings.
    needs_fourth: `Bank.fourth` is used.
    by_domain: source and target clips are fitted apart.
    mixes: `Bank.mix` is understood; other backends would leave it out.
    needs_key: `Bank.key` is used.
    unit: the metric scales rows to length one, see `Bank.unit`.
    notes: `(State, NumClips) -> [text]`, on the host: what a user must know
      of a fitted state. None where there is nothing to know. It only reads,
      so it cannot change a score.
  """

  fit: Callable[[Bank], State]
  score: Callable[[State, Array], Array]
  self_score: Callable[[State, Array, Array], Array] | None = None
  over_frames: bool = False
  needs_fourth: bool = False
  by_domain: bool = False
  mixes: bool = False
  needs_key: bool = False
  unit: bool = False
  notes: Notes | None = None


def bank_of(
  emb: Array,
  is_target: Array,
  *,
  valid: Array | None = None,
  num_target: int | None = None,
  **fields: Any,
) -> Bank:
  """Makes a bank whose rows are groups of their own.

  Args:
    emb: `[N, ...]` embeddings.
    is_target: `[N]` True for target-domain rows.
    valid: `[N]` rows that count; None if all do.
    num_target: how many those are at most; counted if None, which needs values
      and so does not work inside `jit`.
    **fields: other fields of `Bank`.

  Returns:
    The bank.
  """
  num = emb.shape[0]
  rows = jnp.arange(num, dtype=jnp.int32)
  if num_target is None:
    num_target = int(jnp.sum(is_target))
  if valid is None:
    valid = jnp.ones(num, bool)
  return Bank(emb, is_target, valid, rows, num_target=num_target, **fields)


def append(
  bank: Bank,
  emb: Array,
  *,
  is_target: Array,
  group: Array,
  num_target: int,
  valid: Array | None = None,
) -> Bank:
  """Adds rows behind those of a bank.

  Args:
    bank: the bank; rows that are added have no second vector.
    emb: `[M, ...]` new rows.
    is_target: `[M]` their domains.
    group: `[M]` the rows that they leave the bank with; -1 if none.
    num_target: how many of them are of the target domain at most.
    valid: `[M]` False for those that do not count; None if all do.

  Returns:
    The bank of `N + M` rows. Its `key` stays that of the first N, and new rows
    are not mixed.
  """
  join = lambda a, b: jnp.concatenate([a, b.astype(a.dtype)])
  num = emb.shape[0]
  mix, none = bank.mix, jnp.zeros(num, bool)
  if mix is not None:
    # New rows may be mixtures themselves; they are not mixed once more.
    mix = mix.replace(
      target=join(mix.target, none), source=join(mix.source, none)
    )
  by = bank.centre_by
  if by is not None:
    by = join(by, ~none)
  return bank.replace(
    emb=join(bank.emb, emb),
    is_target=join(bank.is_target, is_target),
    valid=join(bank.valid, ~none if valid is None else valid),
    group=join(bank.group, group),
    mix=mix,
    centre_by=by,
    num_target=bank.num_target + num_target,
  )


def prepared(bank: Bank, metric: distance.Metric) -> distance.Rows:
  """The rows of a bank, ready for a metric.

  Args:
    bank: the bank.
    metric: the distance.

  Returns:
    The rows.
  """
  by = bank.valid if bank.centre_by is None else bank.centre_by
  return distance.prepare(bank.emb, by, metric)


def domain_moments(
  bank: Bank,
) -> tuple[statistics.Moments, statistics.Moments]:
  """Moments of the source frames and of the target frames.

  Args:
    bank: of a backend that works on frames.

  Returns:
    Source and target moments.
  """
  assert bank.moments is not None
  one = lambda i: jax.tree.map(lambda x: x[i], bank.moments)
  return one(0), one(1)


def each(notes: Notes) -> Notes:
  """Lifts notes of a state to states along a leading axis.

  Args:
    notes: of one state.

  Returns:
    Notes of all of them, each text once.
  """

  def of_all(states: State, num: NumClips) -> list[str]:
    count = len(jax.tree.leaves(states)[0])
    one = lambda i: notes(jax.tree.map(lambda x: x[i], states), num)
    return list(dict.fromkeys(text for i in range(count) for text in one(i)))

  return of_all


def embedding() -> Backend:
  """Takes the one number of the embedding as the score."""
  return Backend(lambda bank: {}, lambda state, emb: emb[0])


def per_frequency(inner: Backend) -> Backend:
  """Lifts a backend on `[D]` to `[F, D]`: one bank a frequency, mean score.

  Args:
    inner: backend on `[D]`.

  Returns:
    Backend on `[F, D]`.

  Source: [BEAM26], [MERL26].
  """

  def fit(bank: Bank) -> State:
    # Domains, groups and everything else are of the clip, hence of all its
    # frequencies.
    one = lambda emb: inner.fit(bank.replace(emb=emb))
    return jax.vmap(one, in_axes=1)(bank.emb)

  def score(state: State, emb: Array) -> Array:
    return jnp.mean(jax.vmap(inner.score)(state, emb))

  def self_score(state: State, emb: Array, group: Array) -> Array:
    assert inner.self_score is not None
    # A clip leaves the banks of all its frequencies at once.
    one = jax.vmap(inner.self_score, in_axes=(0, 0, None))
    return jnp.mean(one(state, emb, group))

  own = self_score if inner.self_score else None
  return inner._replace(
    fit=fit,
    score=score,
    self_score=own,
    notes=inner.notes and each(inner.notes),
  )


def per_domain(inner: Backend) -> Backend:
  """One bank a domain, smallest score of the two; an empty domain is skipped.

  Args:
    inner: backend on the rows of one domain (it must respect `Bank.valid`).

  Returns:
    Backend on the same embeddings.

  Source: [GenRep24].
  """

  def of_domain(bank: Bank, is_target: bool) -> Bank:
    mix = bank.mix
    # Mixed rows count as target rows: the source bank has none of them. The
    # target bank mixes as before, since the masks of `Mix` are its own.
    if mix is not None and not is_target:
      mix = mix.replace(target=jnp.zeros_like(mix.target))
    inside, by = bank.is_target == is_target, bank.centre_by
    if by is not None:
      by = by & inside
    return bank.replace(valid=bank.valid & inside, mix=mix, centre_by=by)

  def fit(bank: Bank) -> State:
    # Both keep all rows and mask those of the other domain: of equal shapes,
    # they are fitted and scored by one program.
    banks = [of_domain(bank, False), of_domain(bank, True)]
    return {
      "state": jax.tree.map(lambda *x: jnp.stack(x), *map(inner.fit, banks)),
      "empty": jnp.stack([~jnp.any(b.valid) for b in banks]),
    }

  def smallest(state: State, scores: Array) -> Array:  # [2] -> []
    # Whatever a backend makes of no rows (a blend has 0 times infinity) must
    # not win the minimum.
    return jnp.min(jnp.where(state["empty"], jnp.inf, scores))

  def score(state: State, emb: Array) -> Array:
    scores = jax.vmap(lambda s: inner.score(s, emb))(state["state"])
    return smallest(state, scores)

  def self_score(state: State, emb: Array, group: Array) -> Array:
    assert inner.self_score is not None
    one = jax.vmap(inner.self_score, in_axes=(0, None, None))
    return smallest(state, one(state["state"], emb, group))

  own = self_score if inner.self_score else None
  tell = inner.notes and each(inner.notes)
  return inner._replace(
    fit=fit,
    score=score,
    self_score=own,
    by_domain=True,
    notes=tell and (lambda state, num: tell(state["state"], num)),
  )


WRAPPERS = {"per_frequency": per_frequency, "per_domain": per_domain}
