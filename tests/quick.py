"""How most programs of the suite are compiled: in little time."""

import jax

# Of XLA's two code generators for the CPU the newer one takes twice as long
# for a small program, and most programs here are small.
_WANTED = {
  "xla_backend_optimization_level": 0,
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
