import contextlib
import functools
import os
import tempfile
from pathlib import Path

# Most of the suite's time is compilation, and most programs run once: they are
# compiled with few optimisations, in child processes too. Goldens and tests
# marked `optimised` compile as users do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

_QUICK = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
jax.config.update("jax_numpy_rank_promotion", "raise")

# Programs that come up in many tests are compiled once a process. A cache a
# worker: a process that reads an entry while another writes it gets a warning,
# which is an error here. `ASD_JAX_TEST_CACHE` keeps them between sessions.
if "PYTEST_XDIST_WORKER" not in os.environ:
  _CACHE = tempfile.TemporaryDirectory(prefix="asd_jax_tests_")
  os.environ.setdefault("ASD_JAX_TEST_CACHE", _CACHE.name)
os.environ["ASD_JAX_CACHE"] = os.path.join(
  os.environ["ASD_JAX_TEST_CACHE"], os.environ.get("PYTEST_XDIST_WORKER", "one")
)
jax.config.update(
  "jax_compilation_cache_dir", os.environ["ASD_JAX_CACHE"] + "/xla"
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

GOLDENS = Path(
  os.environ.get("ASD_JAX_GOLDENS", Path(__file__).parent / "goldens")
)


# Folders whose files take longest. They start first, so that workers, which get
# a file at a time, end together.
_LONG = ("scripts", "engine", "sweep", "backends")


def pytest_collection_modifyitems(items):
  place = {name: i for i, name in enumerate(_LONG)}
  items.sort(key=lambda i: place.get(i.path.parent.name, len(_LONG)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
  # A hook, not a fixture: it must come before fixtures of wider scope.
  users = any(item.get_closest_marker(m) for m in ("golden", "optimised"))
  jax.config.update("jax_disable_most_optimizations", _QUICK and not users)


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory():
  """Drops a module's compiled programs: a process grew to 4 GB of them."""
  yield
  jax.clear_caches()


@pytest.fixture
def key():
  return jax.random.key(0)


@pytest.fixture(scope="session")
def golden():
  """Opens `<name>.npz` of the goldens folder, each once."""
  with contextlib.ExitStack() as opened:
    yield functools.cache(
      lambda name: opened.enter_context(np.load(GOLDENS / f"{name}.npz"))
    )
