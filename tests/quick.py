"""How most programs of the suite are compiled: in little time."""

import functools
import os

import jax

# Of XLA's two code generators for the CPU the newer one takes twice as long
# for a small program, and most programs here are small. Cutting a program into
# parts that several threads compile takes twice as long, too, and gains nothing
# where every core has a process of its own.
_WANTED = {
  "xla_backend_optimization_level": 0,
  "xla_cpu_parallel_codegen_split_count": 1,
  "xla_cpu_use_fusion_emitters": False,
  "xla_llvm_disable_expensive_passes": True,
}


def _is_known(name):
  """Whether this jaxlib has an option: later ones drop some."""
  program = jax.jit(lambda x: x + 1).lower(1.0)
  try:
    program.compile(compiler_options={name: _WANTED[name]})
  except jax.errors.JaxRuntimeError:
    return False
  return True


OPTIONS = {name: value for name, value in _WANTED.items() if _is_known(name)}
# For tests with reference numbers: of their programs, one a length, that of the
# main clips is compiled as users do, and the others so.
jit = functools.partial(jax.jit, compiler_options=OPTIONS)


def environment(flags=""):
  """Variables of a child process, which compiles its programs in this way.

  Args:
    flags: more of XLA's.

  Returns:
    This process's variables and `XLA_FLAGS`.
  """
  found = [os.environ.get("XLA_FLAGS", ""), flags]
  if os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") == "1":
    found += [f"--{n}={str(v).lower()}" for n, v in OPTIONS.items()]
  return {**os.environ, "XLA_FLAGS": " ".join(filter(None, found))}
