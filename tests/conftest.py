import contextlib
import functools
import gc
import os
import tempfile
from pathlib import Path
from unittest import mock

# Most of the suite's time is compilation, and most programs run once: they are
# compiled with few optimisations, in child processes too. Goldens and tests
# marked `optimised` compile as users do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jax._src import compiler  # noqa: E402

from asd_jax.encoders import zoo  # noqa: E402
from tests import quick  # noqa: E402

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


def _as_users(item):
  """Whether the programs of a test are those that users run."""
  return any(item.get_closest_marker(m) for m in ("golden", "optimised"))


def pytest_collection_modifyitems(items):
  place = {name: i for i, name in enumerate(_LONG)}
  first = {}
  for i, item in enumerate(items):
    first.setdefault(item.path, i)
  # Of a file those come first that compile as users do: each change of the way
  # drops all programs, and what the file's tests share is then made so.
  items.sort(
    key=lambda i: (
      place.get(i.path.parent.name, len(_LONG)),
      first[i.path],
      not _as_users(i),
    )
  )


def pytest_collection_finish():
  # Modules and thousands of tests stay for good: whoever collects garbage need
  # not look at them, and tracing makes little of it and much that stays.
  gc.freeze()
  gc.set_threshold(50_000, 20, 20)


_users_options = compiler.get_compile_options


def _quick_options(*args, **kwargs):
  options = _users_options(*args, **kwargs)
  options.env_option_overrides = [
    *options.env_option_overrides,
    *quick.OPTIONS.items(),
  ]
  return options


def _compile_quickly(yes):
  """Programs take little time to compile, or are those that users run."""
  options = _quick_options if yes else _users_options
  if compiler.get_compile_options is not options:
    jax.clear_caches()  # of programs that were compiled the other way
    compiler.get_compile_options = options
    jax.config.update("jax_disable_most_optimizations", yes)


_compile_quickly(_QUICK)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
  # A hook, not a fixture: it must come before fixtures of wider scope.
  _compile_quickly(_QUICK and not _as_users(item))


def _resident_bytes():
  pages = int(Path("/proc/self/statm").read_text().split()[1])
  return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory():
  """Drops compiled programs of a large process: one grew to 4 GB of them."""
  yield
  if _resident_bytes() > 2 << 30:
    jax.clear_caches()


@pytest.fixture
def key():
  return jax.random.key(0)


@pytest.fixture(scope="module")
def one_block():
  """Tiny networks of one block: a second takes as long to trace again."""
  with contextlib.ExitStack() as stack:
    for family in zoo.FAMILIES.values():
      smoke = {**family.sizes["smoke"], "depth": 1}
      stack.enter_context(mock.patch.dict(family.sizes, smoke=smoke))
    yield


@pytest.fixture(scope="session")
def golden():
  """Opens `<name>.npz` of the goldens folder, each once."""
  with contextlib.ExitStack() as opened:
    yield functools.cache(
      lambda name: opened.enter_context(np.load(GOLDENS / f"{name}.npz"))
    )
