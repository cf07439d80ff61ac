"""The official baseline's PyTorch state dict, to our variables and back."""

import numpy as np

# Index of each linear layer in the official `encoder` and `decoder`
# sequences; its batch norm, where there is one, has the next index.
OFFICIAL_INDEX = (0, 3, 6, 9, 12)


def _official_layers(params):
  """Lists (our linear layer, official part, official index) in order."""
  out = []
  for name in params:
    if not name.endswith("_norm"):
      part, i = name.split("_")
      out.append((name, part, str(OFFICIAL_INDEX[int(i)])))
  return out


def to_official(variables, covariance):
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


def from_official(state):
  """Reads a state dict of the official baseline.

  Args:
    state: official key to array, as `to_official` writes it;
      `num_batches_tracked` is read over.

  Returns:
    variables: `params` and `batch_stats`.
    covariance: `[2, M, M]`.

  Raises:
    ValueError: if a key is missing or unknown.
  """
  state = {k: np.asarray(v) for k, v in state.items()}
  left = {k for k in state if not k.endswith("num_batches_tracked")}

  def take(key):
    if key not in left:
      raise ValueError(
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
    raise ValueError(f"official autoencoder: unknown keys {sorted(left)[:5]}.")
  return {"params": params, "batch_stats": stats}, covariance
