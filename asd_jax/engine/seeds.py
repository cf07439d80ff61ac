"""What a config may name as seeds."""

from typing import Any

from asd_jax import errors


def check(seeds: Any, *, such_as: tuple[int, ...]) -> None:
  """Refuses what are no seeds.

  Args:
    seeds: of a config. A seed is a word of a random key, and the name of a kept
      network.
    such_as: what the message gives as an example.

  Raises:
    InputError: unless they are different integers of 32 bits, one or more.
  """
  good = isinstance(seeds, list | tuple) and all(
    isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 2**32
    for s in seeds
  )
  if not good or not seeds or len(set(seeds)) < len(seeds):
    raise errors.InputError(
      f"config: seeds: found {seeds!r}, expected different integers from 0 to"
      f" 2**32 - 1, such as {such_as}."
    )
