"""Views: how the embeddings of the channels become one embedding."""

import jax.numpy as jnp

from asd_jax.typing import Array, Scalar


def near(emb: Array) -> Array:
  """Keeps the near embedding only.

  Args:
    emb: `[C, ...]` pooled embedding of each channel, near first.

  Returns:
    `[...]` near embedding.
  """
  return emb[0]


def residual(emb: Array, *, alpha: Scalar = 0.5) -> Array:
  """Subtracts a scaled far embedding from the near embedding.

  Args:
    emb: `[C, ...]` pooled embedding of each channel, near first.
    alpha: far coefficient, no unit. 0 is the near view; below 0 adds far.

  Returns:
    `[...]` residual embedding.

  Source: [LUDO26] Sec. 2.1.
  """
  # No length is scaled, neither before nor after: how loud the far channel is
  # belongs to what is subtracted.
  return emb[0] - alpha * emb[1]


def projection_residual(emb: Array) -> Array:
  """What of the near embedding is at right angles to the far one.

  Args:
    emb: `[C, D]` pooled embedding of each channel, near first.

  Returns:
    `[D]` residual; the near embedding where the far one is zero.

  Source: [LUDO26], the key of its prototypes.
  """
  near_emb, far_emb = emb[0], emb[1]
  share = jnp.vdot(near_emb, far_emb) / (jnp.vdot(far_emb, far_emb) + 1e-12)
  return near_emb - share * far_emb


KEYS = {
  "none": lambda: None,
  "projection_residual": lambda: projection_residual,
}

# Views and keys that read the far channel.
OF_TWO = ("residual", "projection_residual")

VIEWS = {
  "near": near,
  "residual": residual,
  "projection_residual": projection_residual,
}
