"""Weights without numbers, and every tensor of a file."""

import numpy as np

from asd_jax.weights import read as weights_file
from asd_jax.weights import stored_tensor
from asd_jax.weights.byte_source import Source


def shapes_only(shapes):
  """Arrays of a shape but no memory, to try rules on a list of names."""
  zero = np.zeros((), np.float32)
  return {name: np.broadcast_to(zero, tuple(s)) for name, s in shapes.items()}


def read_all(path):
  """Every tensor of a file by place, nested ones and second copies too."""
  found = weights_file.scan(path).tensors
  with Source(path) as source:
    return {n: stored_tensor.load(source, t) for n, t in found.items()}
