"""Computes embeddings of many clips, on many hosts, for runs that follow.

Run: python scripts/embed.py --config=configs/merl_system2.py \
  --config.data_dir=DIR --num_hosts=8 --host=0

Each host, or each process with a device of its own, takes every eighth clip;
none waits for another. What they compute lies in the cache of embeddings
(ASD_JAX_CACHE, a folder that all of them see), where evaluate.py, sweep.py and
whatever has the same encoder find it. Clips that are there are not computed
again: the same command goes on after a stop.
"""

from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from asd_jax import errors
from asd_jax.runs import cli, config_file

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "config file, or the bare name of one such as plain_knn"
)
_NUM_HOSTS = flags.DEFINE_integer("num_hosts", 1, "hosts in all", lower_bound=1)
_HOST = flags.DEFINE_integer(
  "host", 0, "number of this host, from 0", lower_bound=0
)


def run(arguments: Sequence[str]) -> int:
  """Computes the share that the flags describe."""
  from asd_jax.runs import embed, progress

  share = embed.Share(_HOST.value, _NUM_HOSTS.value)
  if share.host >= share.num_hosts:
    raise errors.InputError(
      f"flags: --host: found {share.host} of {share.num_hosts} hosts, expected"
      f" 0 to {share.num_hosts - 1}."
    )
  config = config_file.prepared(_CONFIG.value, arguments)
  with progress.Progress() as bars:
    found = embed.run(config, share, progress=bars)
  print("\n".join(found.lines))
  for problem in found.unread:
    cli.tell(problem)
  return cli.BAD_INPUT if found.unread else 0


if __name__ == "__main__":
  cli.main(run)
