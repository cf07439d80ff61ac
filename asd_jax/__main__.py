"""`python -m asd_jax COMMAND`: the command `asd_jax` of this interpreter."""

from asd_jax.runs import commands

if __name__ == "__main__":
  commands.main()
