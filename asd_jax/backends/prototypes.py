"""A second bank of a few chosen rows beside the whole one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.backends import base
from asd_jax.ops import cluster
from asd_jax.typing import Array, Key, Scalar


def random_projection(key: Key, width: int, num: int) -> Array:
  """Draws a projection that keeps squared lengths, up to a factor.

  Args:
    key: PRNG key.
    width: numbers of a row, D.
    num: numbers of a projected row.

  Returns:
    `[D, num]` of variance `1 / D`.
  """
  # By D and not by `num`, as published: all lengths change by one factor,
  # which no choice of farthest points depends on.
  draw = jax.random.normal(key, (width, num), jnp.float32)
  return draw / jnp.sqrt(jnp.float32(width))


def chosen_rows(
  bank: base.Bank, projection: Array | None, *, num: int
) -> base.Bank:
  """Rows of training clips that stand for the others.

  Rows that were added behind those of the training clips have no key and are
  not chosen, mixed rows neither.

  Args:
    bank: the bank, with keys.
    projection: `[D, M]` of the keys, or None.
    num: how many rows.

  Returns:
    A bank of the chosen rows, by farthest points among the keys.

  Raises:
    InputError: if the bank has no keys.
  """
  if bank.key is None:
    raise errors.InputError(
      "wrapper prototypes: found a bank without keys, expected a branch with"
      " key=dict(name=...)."
    )
  keys = bank.key.reshape(len(bank.key), -1)  # [N, F * D]
  if projection is not None:
    keys = jnp.matmul(keys, projection, precision=jax.lax.Precision.HIGHEST)
  # Rows that a bank stage adds always come behind the others.
  usable = bank.valid[: len(keys)]
  place = cluster.k_centre(keys, num, usable=usable)
  return base.Bank(
    emb=bank.emb[place],
    is_target=bank.is_target[place],
    # The choice goes on at arbitrary places when no usable row is left.
    valid=jnp.arange(len(place)) < jnp.sum(usable),
    # So that a clip leaves both banks, and does not meet its own prototype.
    group=bank.group[place],
    num_target=min(bank.num_target, len(place)),
  )


def blend(
  inner: base.Backend,
  choose: Callable[[base.Bank], base.Bank],
  *,
  weight: Scalar,
) -> base.Backend:
  """Mean of the scores by a whole bank and by a part of it.

  Args:
    inner: the backend of both.
    choose: the part of a bank.
    weight: of the part's score; the whole bank's has the rest.

  Returns:
    Backend on the same embeddings.
  """

  def fit(bank: base.Bank) -> base.State:
    return {"full": inner.fit(bank), "chosen": inner.fit(choose(bank))}

  def mean(full: Array, chosen: Array) -> Array:
    # Both scores are distances to rows of one bank, so no scale has to be
    # matched.
    return (1.0 - weight) * full + weight * chosen

  def score(state: base.State, emb: Array) -> Array:
    one = lambda name: inner.score(state[name], emb)
    return mean(one("full"), one("chosen"))

  def self_score(state: base.State, emb: Array, group: Array) -> Array:
    assert inner.self_score is not None
    full = inner.self_score(state["full"], emb, group)
    return mean(full, inner.self_score(state["chosen"], emb, group))

  own = self_score if inner.self_score else None
  tell = inner.notes
  return inner._replace(
    fit=fit,
    score=score,
    self_score=own,
    notes=tell and (lambda state, num: tell(state["full"], num)),
  )


def prototypes(
  inner: base.Backend,
  *,
  num: int = 128,
  projection_dim: int | None = 256,
  # The seed of the published code, whose draws differ between its devices: the
  # same prototypes cannot be had.
  seed: int = 20260614,
  weight: Scalar = 0.5,
) -> base.Backend:
  """Blends in the score by prototypes, chosen by a second vector a row.

  The keys (`Bank.key`) are projected at random, then the rows farthest from
  each other are chosen. Scores are blended as they are.

  Args:
    inner: backend of both banks.
    num: prototypes, or as many as there are rows.
    projection_dim: numbers of a projected key; None or 0 for no projection.
    seed: of the random draws.
    weight: of the prototypes' score.

  Returns:
    Backend on the same embeddings.

  Raises:
    InputError: if `num` is below 1 or `projection_dim` below 0.

  Source: [LUDO26], projection-residual prototype selection.
  """
  if num < 1 or (projection_dim or 0) < 0:
    raise errors.InputError(
      f"wrapper prototypes: found num={num} and projection_dim="
      f"{projection_dim}, expected num >= 1 and projection_dim >= 0 or None."
    )

  def choose(bank: base.Bank) -> base.Bank:
    projection = None
    # A bank without keys is for `chosen_rows` to report.
    if projection_dim and bank.key is not None:
      width = bank.key[0].size
      key = jax.random.key(seed)
      projection = random_projection(key, width, projection_dim)
    return chosen_rows(bank, projection, num=num)

  return blend(inner, choose, weight=weight)._replace(needs_key=True)


WRAPPERS = {"prototypes": prototypes}
