"""Many small cases in one program: each program costs more than they do."""

import jax


def compiled(cases, of, options=None):
  """Yields `(case, result)`; `of(case)` is a function and its inputs."""
  functions, inputs = zip(*map(of, cases), strict=True)
  run = lambda inputs: [f(*x) for f, x in zip(functions, inputs, strict=True)]
  run = jax.jit(run, compiler_options=options)
  return zip(cases, run(inputs), strict=True)


def check_all(cases, of):
  """Checks results of functions that return them by their names in the file."""
  for case, found in compiled(cases, of):
    for name, value in found.items():
      case.check(value, name)
