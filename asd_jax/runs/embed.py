"""What `embed.py` does: keeps embeddings that later runs look for."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

from asd_jax import errors, files
from asd_jax.data import clips, windows
from asd_jax.engine import session, windowed
from asd_jax.runs import evaluate, folder, sift
from asd_jax.runs import progress as progress_lib
from asd_jax.training.job import Job

Config = dict[str, Any]
T = TypeVar("T")


class Share(NamedTuple):
  """The part of the clips that a host embeds.

  Attributes:
    host: its number, from 0.
    num_hosts: hosts in all.
  """

  host: int = 0
  num_hosts: int = 1

  def of(self, some: Sequence[T]) -> list[T]:
    """Every `num_hosts`-th: neighbours are often of like length."""
    return list(some[self.host :: self.num_hosts])


class Embedded(NamedTuple):
  """What has come of it.

  Attributes:
    lines: for people.
    unread: what is wrong with files to score that were left out.
  """

  lines: list[str]
  unread: list[str]


def _refuse_training(job: Job, *_: Any) -> NoReturn:
  raise errors.InputError(
    f"{job.name}: found no trained weights, expected those that"
    " scripts/train.py makes of this config in the same output_dir; hosts that"
    " embed would each train them."
  )


def _open(config: Config) -> session.Session:
  """A system whose embeddings can be kept, with its weights."""
  config = {**config, "training_dir": folder.training_dir(config)}
  opened = session.open(config)
  opened.adapt(_refuse_training)
  # Emptied by one host, a cache would lose what another has computed.
  if opened.config["cache"] != "on" or not opened.embedder.keeps:
    raise errors.InputError(
      f"{opened.config['system']}: found no embeddings to keep"
      f" (cache={opened.config['cache']}), expected cache=on and an encoder"
      " that is not trained on the clips of one machine."
    )
  return opened


def _of_section(
  opened: session.Session,
  machine: clips.Machine,
  section: str,
  share: Share,
  progress: progress_lib.Progress,
) -> list[clips.Unread]:
  """Embeds a host's share of a section; files that cannot be decoded."""
  train = evaluate.of_section(machine.train, section)
  how = windowed.rule(train, opened.config)
  # Of a recording all windows go to one host, which reads it from its start.
  own = share.of(train)
  test = share.of(evaluate.of_section(machine.test, section))
  unread: list[clips.Unread] = []
  for k, keep in enumerate(opened.keepers(train)):
    fold = f", fold {k}" if k else ""
    num = len(own) + len(windows.cut(test, how).clips)
    advance = progress.task(f"{machine.name} {section}{fold}", num)
    keep = functools.partial(keep, advance=advance)
    keep(own)
    _, found = sift.scored(functools.partial(_keep_cut, keep, how), test)
    test = [test[i] for i in found.good]
    unread += found.unread
  return unread


def _keep_cut(
  keep: Callable[..., None], how: windows.Cut, some: list[clips.Clip]
) -> None:
  """Keeps embeddings of whole files, of long recordings by their windows."""
  keep(windows.cut(some, how).clips)


def run(
  config: Config, share: Share, *, progress: progress_lib.Progress
) -> Embedded:
  """Computes a host's share of the embeddings that an evaluation needs.

  Nothing is said between hosts: each finds the clips in the same order, and
  writes into the cache that all of them see. A host that was lost is started
  again and computes what is missing; the evaluation would do so too.

  Args:
    config: plain data, see `configs/common.py`.
    share: which part.
    progress: where progress is shown.

  Returns:
    What to say.

  Raises:
    InputError: for bad input, weights that are not trained yet, and a cache
      that cannot be written.
  """
  opened = _open(config)
  machines = evaluate.read_usable(opened)
  unread: list[clips.Unread] = []
  for machine in machines:
    unread += share.of(machine.unread)
    for section in evaluate.section_names(machine.train):
      unread += _of_section(opened, machine, section, share, progress)
  counts, place = opened.embedder.counts, files.cache_folder("embeddings")
  line = (
    f"host {share.host} of {share.num_hosts}: embeddings of clips:"
    f" {counts['computed']} computed, {counts['read']} found in {place}"
  )
  notes = opened.embedder.notes()
  return Embedded([line, *notes], [u.problem for u in unread])
