"""Scores of embeddings that are logits of classes."""

import jax
import jax.numpy as jnp

from asd_jax.backends import base
from asd_jax.ops import statistics
from asd_jax.typing import Array


def own_class() -> base.Backend:
  """How unlikely a clip is to be of its machine's class, `-log p`.

  The embedding holds logits of classes, one of which is the machine's: the one
  that its training clips are most likely of, on average.

  Returns:
    A backend on `[D]` logits; training clips have in-sample scores only.

  Source: [OutlierExposure19]; the form is our choice.
  """
  log_share = lambda emb: jax.nn.log_softmax(emb)

  def fit(bank: base.Bank) -> dict[str, Array]:
    mean = statistics.mean_of(jax.vmap(log_share)(bank.emb), bank.valid)
    return {"own": jnp.argmax(mean)}

  def score(state: dict[str, Array], emb: Array) -> Array:
    return -log_share(emb)[state["own"]]

  return base.Backend(fit, score)


BACKENDS = {"own_class": own_class}
