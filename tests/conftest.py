import os
from pathlib import Path

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

GOLDENS = Path(
  os.environ.get("ASD_JAX_GOLDENS", Path(__file__).parent / "goldens")
)


@pytest.fixture
def key():
  return jax.random.key(0)


@pytest.fixture(scope="session")
def golden():
  """Loads `<name>.npz` of the goldens folder."""
  return lambda name: np.load(GOLDENS / f"{name}.npz")
