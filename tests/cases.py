"""Reference cases of a file of goldens, whose keys are `item/case/in/name`."""

import json

import jax
import numpy as np


class Case:
  """One case: `inp("x")`, `out("y")`, `params`."""

  def __init__(self, z, item, name):
    self._z, self.name = z, f"{item}/{name}"
    self.params = json.loads(str(z[f"{self.name}/params"]))

  def has(self, name):
    return f"{self.name}/{name}" in self._z.files

  def inp(self, name):
    # NumPy's: each operation on one of JAX's is a program of its own.
    value = self._z[f"{self.name}/in/{name}"]
    return value.astype(jax.dtypes.canonicalize_dtype(value.dtype))

  def out(self, name):
    return self._z[f"{self.name}/out/{name}"]

  def check(self, got, name, rtol=1e-4, atol=1e-4):
    np.testing.assert_allclose(
      got, self.out(name), rtol=rtol, atol=atol, err_msg=f"{self.name} {name}"
    )


def of_item(z, item):
  """All cases of an item of an open file."""
  names = {k.split("/")[1] for k in z.files if k.startswith(f"{item}/")}
  assert names, item
  return [Case(z, item, n) for n in sorted(names)]
