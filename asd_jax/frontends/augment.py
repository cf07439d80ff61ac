"""Clips made from target-domain training clips, which only add bank rows."""

from typing import Any

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.frontends.base import Augment
from asd_jax.ops import waveform
from asd_jax.typing import Array

Tree = Any
# Correlations where the ratio changes, and the ratios from the lowest on.
TIERS: dict[str, tuple[float, ...]] = {
  "edges": (0.3, 0.6),
  "ratios": (1.0, 0.1, 0.0),
}


def ratio(
  correlation: float, *, edges: tuple[float, ...], ratios: tuple[float, ...]
) -> float:
  """The ratio of the tier that a correlation lies in.

  Args:
    correlation: of near and far, see `residual`.
    edges: upper edges of the tiers but the last, ascending; an edge belongs to
      the tier below it.
    ratios: one a tier, that of the lowest correlations first.

  Returns:
    One of `ratios`.
  """
  return ratios[sum(correlation > edge for edge in edges)]


def mix_far(wave: Array, share: Array) -> Array:
  """Replaces the far channel by a blend of near and far.

  Args:
    wave: `[2, S]` near and far waveform.
    share: `[]` of the far channel; 1 changes nothing, more goes beyond it.

  Returns:
    `[2, S]` the near channel, and `(1 - share) near + share far`.

  Source: [KonicaMinolta26] eq. 2.
  """
  # The near channel stays as it is, so features of it alone do not change, and
  # neither does the level that both channels are divided by.
  return jnp.stack([wave[0], (1.0 - share) * wave[0] + share * wave[1]])


def residual(
  *,
  low: float = 0.5,
  high: float = 1.5,
  edges: tuple[float, ...] = TIERS["edges"],
  ratios: tuple[float, ...] = TIERS["ratios"],
  seed: int = 0,
) -> Augment:
  """Blends near into far, the more often the less the channels agree.

  How many clips are made follows from the mean Pearson correlation of near and
  far, at lag zero, over the training clips of the machine.

  Args:
    low: smallest share of the far channel.
    high: largest share.
    edges: correlations where the ratio changes, ascending.
    ratios: clips to make for each source clip, for the lowest correlations
      first; one more than `edges`.
    seed: of the random draws.

  Returns:
    The augmentation of `[2, S]` clips.

  Raises:
    InputError: for settings that contradict each other.

  Source: [KonicaMinolta26] Sec. 2.3; the mean over clips is our choice.
  """
  if low > high:
    raise errors.InputError(f"residual: found low={low} above high={high}.")
  if list(edges) != sorted(edges) or len(ratios) != len(edges) + 1:
    raise errors.InputError(
      f"residual: found edges={edges} and ratios={ratios}, expected ascending"
      " edges and one ratio more."
    )
  if min(ratios) < 0.0:
    raise errors.InputError(
      f"residual: found ratios={ratios}, expected none below 0."
    )

  def measure(wave: Array, num: Array | None = None) -> Tree:
    one = jnp.ones(())
    return {
      "sum": waveform.pearson(wave[0], wave[1], num_samples=num),
      "count": one,
    }

  def fit(sums: Tree) -> Tree:
    return {"correlation": sums["sum"] / jnp.maximum(sums["count"], 1.0)}

  def count(state: Tree, num_source: int) -> int:
    # A number of the host: how many clips there are decides shapes.
    found = float(state["correlation"])
    return round(ratio(found, edges=edges, ratios=ratios) * num_source)

  def draw(num: int) -> Array:
    key = jax.random.key(seed)
    # Each clip has a share of its own; above one it is further from the near
    # channel than anything that was recorded.
    return jax.random.uniform(key, (num,), jnp.float32, low, high)

  return Augment(
    measure,
    fit,
    lambda share, wave: mix_far(wave, share),
    count,
    draw,
    2,
    measure_part=measure,
  )


def none() -> Augment:
  """Makes no clips."""
  return Augment(
    None, None, lambda draw, wave: wave, lambda state, num: 0, lambda num: {}
  )


AUGMENTS = {"none": none, "residual": residual}
