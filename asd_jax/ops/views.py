"""Views: how the embeddings of the channels become one embedding."""

from asd_jax.typing import Array


def near(emb: Array) -> Array:
  """Keeps the near embedding only.

  Args:
    emb: `[C, ...]` pooled embedding of each channel, near first.

  Returns:
    `[...]` near embedding.
  """
  return emb[0]


VIEWS = {"near": near}
