"""The one error that is the user's to mend, and the end that they asked for."""


class InputError(ValueError):
  """Wrong input: a flag, a setting or a file that cannot be used.

  The message is one sentence that names the place (file, flag or setting),
  what was found there and what was expected. The commands print it as one line
  and end with exit status 2; every other exception is a bug and keeps its
  traceback. It is a `ValueError`, so that callers from Python need not know it.
  """


class Stopped(KeyboardInterrupt):
  """A signal asked to end, and what was done is saved.

  Args:
    message: one line for people.
    status: exit status, 128 and the number of the signal.
  """

  def __init__(self, message: str, status: int) -> None:
    super().__init__(message)
    self.status = status


# What a file of a user's own, which is a program, may raise when it is loaded:
# a config, or a module of stages.
OF_A_PROGRAM = (
  ArithmeticError,
  AssertionError,
  AttributeError,
  ImportError,
  LookupError,
  NameError,
  OSError,
  RuntimeError,
  SyntaxError,
  TypeError,
  ValueError,
)
