"""The autoencoder of the official baseline, and its PyTorch weight layout."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from asd_jax import errors
from asd_jax.encoders import family, layers, trained
from asd_jax.typing import Array

Variables = Mapping[str, Any]

# Index of each linear layer in the official `encoder` and `decoder`
# sequences; its batch norm, where there is one, has the next index.
OFFICIAL_INDEX = (0, 3, 6, 9, 12)


class Autoencoder(nn.Module):
  """Linear, batch norm, ReLU; the last layer is linear only.

  Attributes:
    num_inputs: width of a vector.
    num_hidden: width of the hidden layers.
    num_bottleneck: width of the code, which is normalised and rectified too.
    num_layers: hidden layers on either side of the code.

  Source: [DCASE26base].
  """

  num_inputs: int = 640
  num_hidden: int = 128
  num_bottleneck: int = 8
  num_layers: int = 4

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> tuple[Array, Array]:
    """Maps `[B, num_inputs]` to its reconstruction and code."""
    hidden = (self.num_hidden,) * self.num_layers
    parts = {"encoder": (*hidden, self.num_bottleneck), "decoder": hidden}
    code = x
    for part, widths in parts.items():
      for i, width in enumerate(widths):
        x = layers.Dense(width, name=f"{part}_{i}")(x)
        norm = layers.BatchNorm(0.01, 1e-3, name=f"{part}_{i}_norm")
        x = nn.relu(norm(x, train=train))
      if part == "encoder":
        code = x
    out = layers.Dense(self.num_inputs, name=f"decoder_{self.num_layers}")
    return out(x), code


def _official_layers(params: Mapping[str, Any]) -> list[tuple[str, str, str]]:
  """Lists (our linear layer, official part, official index) in order."""
  out = []
  for name in params:
    if not name.endswith("_norm"):
      part, i = name.split("_")
      out.append((name, part, str(OFFICIAL_INDEX[int(i)])))
  return out


def to_official(variables: Variables, covariance: Array) -> dict:
  """Writes the network in the official baseline's state-dict layout.

  Args:
    variables: `params` and `batch_stats` of one `Autoencoder`.
    covariance: `[2, M, M]` source and target covariance.

  Returns:
    Official key to NumPy array; linear weights are (out, in).
  """
  params, stats = variables["params"], variables["batch_stats"]
  out = dict(zip(("cov_source", "cov_target"), covariance, strict=True))
  for name, part, index in _official_layers(params):
    out[f"{part}.{index}.weight"] = params[name]["kernel"].T
    out[f"{part}.{index}.bias"] = params[name]["bias"]
    if f"{name}_norm" in params:
      norm = f"{part}.{int(index) + 1}"
      out[f"{norm}.weight"] = params[f"{name}_norm"]["scale"]
      out[f"{norm}.bias"] = params[f"{name}_norm"]["bias"]
      out[f"{norm}.running_mean"] = stats[f"{name}_norm"]["mean"]
      out[f"{norm}.running_var"] = stats[f"{name}_norm"]["var"]
  return {k: np.asarray(v) for k, v in out.items()}


def from_official(state: Mapping[str, np.ndarray]) -> tuple[dict, np.ndarray]:
  """Reads a state dict of the official baseline.

  Args:
    state: official key to array, as `to_official` writes it;
      `num_batches_tracked` is read over.

  Returns:
    variables: `params` and `batch_stats`.
    covariance: `[2, M, M]`.

  Raises:
    InputError: if a key is missing or unknown.
  """
  state = {k: np.asarray(v) for k, v in state.items()}
  left = {k for k in state if not k.endswith("num_batches_tracked")}

  def take(key: str) -> np.ndarray:
    if key not in left:
      raise errors.InputError(
        f"official autoencoder: no key {key!r}, found {sorted(state)[:5]} ..."
      )
    left.discard(key)
    return state[key]

  params, stats = {}, {}
  for part in ("encoder", "decoder"):
    for i, index in enumerate(OFFICIAL_INDEX):
      name, key, norm = f"{part}_{i}", f"{part}.{index}", f"{part}.{index + 1}"
      params[name] = {"kernel": take(f"{key}.weight").T}
      params[name]["bias"] = take(f"{key}.bias")
      if name == f"decoder_{len(OFFICIAL_INDEX) - 1}":
        continue
      params[f"{name}_norm"] = {
        "scale": take(f"{norm}.weight"),
        "bias": take(f"{norm}.bias"),
      }
      stats[f"{name}_norm"] = {
        "mean": take(f"{norm}.running_mean"),
        "var": take(f"{norm}.running_var"),
      }
  covariance = np.stack([take("cov_source"), take("cov_target")])
  if left:
    raise errors.InputError(
      f"official autoencoder: unknown keys {sorted(left)[:5]}."
    )
  return {"params": params, "batch_stats": stats}, covariance


def autoencoder(
  *,
  num_context: int = 5,
  num_hidden: int = 128,
  num_bottleneck: int = 8,
  num_layers: int = 4,
) -> family.Encoder:
  """The official baseline's autoencoder of context windows.

  Args:
    num_context: frames in a window.
    num_hidden: width of the hidden layers.
    num_bottleneck: width of the code.
    num_layers: hidden layers on either side of the code.

  Returns:
    An encoder to train.

  Source: [DCASE26base].
  """
  make = lambda width: Autoencoder(
    width, num_hidden, num_bottleneck, num_layers
  )
  return trained.of_network(make, num_context=num_context, standardise=False)


ENCODERS = {"autoencoder": autoencoder}
