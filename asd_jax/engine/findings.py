"""What a fitted section tells beside its scores: notes, and the noise."""

import collections
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from asd_jax import errors
from asd_jax.backends import base, rows
from asd_jax.data import audio, clips, decode, hearing
from asd_jax.engine import encode, stages
from asd_jax.engine.branch import Branch
from asd_jax.engine.system import System

Tree = Any


def noise_transfers(
  branches: Mapping[str, Branch], front: Tree
) -> dict[str, np.ndarray]:
  """What each branch has learned of how noise reaches both microphones.

  Args:
    branches: by name.
    front: their fitted stages.

  Returns:
    `{branch: [F]}` power ratios near over far, of branches that learn one.
  """
  found = {}
  for name in branches:
    for stage in encode.stages_of(branches):
      # Some denoisers learn one; others work clip by clip.
      if "transfer" in front[name][stage]:
        found[name] = np.asarray(front[name][stage]["transfer"])
  return found


def section_facts(
  system: System,
  is_target: np.ndarray,
  train_scores: np.ndarray,
  front: Tree,
) -> dict[str, Any]:
  """What a detector says of its training clips, beside its state.

  Args:
    system: the system.
    is_target: `[N]` True for target-domain clips.
    train_scores: `[N]` of them.
    front: fitted stages before encoders.

  Returns:
    Plain data.
  """
  return {
    "num_train": len(train_scores),
    "num_target": int(is_target.sum()),
    "training_scores": {
      n: b.detect.reference for n, b in system.branches.items()
    },
    "train_scores": [float(s) for s in np.sort(train_scores)],
    # Over frequency; [KATECH26] calls it G.
    "noise_transfer": {
      n: float(np.median(x))
      for n, x in noise_transfers(system.branches, front).items()
    },
  }


def too_few(label: str, train: Sequence[clips.Clip]) -> errors.InputError:
  """What to say where training clips have no finite scores.

  Args:
    label: machine and section.
    train: training clips.

  Returns:
    The error: a score of a clip by what is fitted to the others needs others.
  """
  folder = os.path.commonpath([c.path.parent for c in train])
  num = len(train)
  found, wanted = f"{num} normal clips", "more, or ones that differ more"
  if num == 1:
    found, wanted = "1 normal clip", "2 or more"
  return errors.InputError(
    f"{folder}: found {found} ({label}), too few or too alike to score each by"
    f" what is fitted to the others; expected {wanted}."
  )


def lengths(train: Sequence[clips.Clip], rate: int) -> dict[str, int]:
  """How long the training clips are.

  Args:
    train: training clips.
    rate: sample rate that clips are brought to, Hz.

  Returns:
    Samples of a clip, as text, to the number of such clips, ascending.
  """
  found = [audio.num_samples_at(c.header, rate) for c in train]
  counted = sorted(collections.Counter(found).items())
  return {str(length): num for length, num in counted}


def _needs_both(spec: Mapping[str, Any]) -> list[str]:
  """Stages of a branch that make rows of source and target clips together."""
  named = spec["bank"]["name"], spec["augment"]["name"]
  return [n for n in named if n in rows.OF_BOTH_DOMAINS or n == "residual"]


def domain_notes(
  system: System,
  config: Mapping[str, Any],
  label: str,
  train: Sequence[clips.Clip],
) -> list[str]:
  """Says what a system lacks where all training clips are of one domain.

  Args:
    system: the system.
    config: its config.
    label: machine and section.
    train: training clips.

  Returns:
    Notes.
  """
  target = [c.domain == "target" for c in train]
  if any(target) and not all(target):
    return []
  domain = "source" if any(target) else "target"
  lead = f"{label}: found no training clips of the {domain} domain;"
  notes = []
  if any(
    b.detect.backend(system.hypers[n]).by_domain
    for n, b in system.branches.items()
  ):
    notes.append(f"{lead} terms by domain are those of all clips")
  # Once a stage, not once a branch: systems repeat one recipe.
  made = dict.fromkeys(
    stage
    for name in system.branches
    for stage in _needs_both(stages.completed(name, config["branches"][name]))
  )
  if made:
    notes.append(
      f"{lead} the bank lacks the rows that are made of both domains"
      f" ({', '.join(made)})"
    )
  return notes


def sameness_notes(
  label: str,
  train: Sequence[clips.Clip],
  usual: Mapping[str, Sequence[float]],
) -> list[str]:
  """Says where training clips tell less than their number.

  Args:
    label: machine and section.
    train: training clips.
    usual: what `hearing.usual` says of them.

  Returns:
    Notes on clips that are copies, and on channels that are dead in most.
  """
  notes = []
  copies: dict[str, list[clips.Clip]] = {}
  for clip in train:
    copies.setdefault(decode.digest(clip), []).append(clip)
  num = len(train) - len(copies)
  if num:
    first, second, *_ = max(copies.values(), key=len)
    notes.append(
      f"{label}: {num} of {len(train)} training clips are copies of others"
      f" ({second.name} of {first.name}): a copy stands in for a clip that a"
      " model has not seen, so expect more false alarms than are stated"
    )
  for channel, name in enumerate(("near_db", "far_db")):
    if name in usual and usual[name][1] < hearing.SILENT_DB:
      notes.append(
        f"{label}: channel {channel} is dead in most training clips: nothing"
        " can be learned from it"
      )
  return notes


def state_notes(
  system: System, state: Tree, label: str, train: Sequence[clips.Clip]
) -> list[str]:
  """What fitted backends say of themselves, seed by seed.

  Args:
    system: the system.
    state: fitted.
    label: machine and section.
    train: training clips.

  Returns:
    Notes, one a text.
  """
  num = base.NumClips(
    source=sum(c.domain != "target" for c in train),
    target=sum(c.domain == "target" for c in train),
  )
  found = []
  for name, branch in system.branches.items():
    tell = branch.detect.backend(system.hypers[name]).notes
    if tell is None:
      continue
    # On the host: what is odd must not change the program of the scores.
    fitted = jax.tree.map(np.asarray, state["branches"][name]["backend"])
    found += base.each(tell)(fitted, num)
  return [f"{label}: {text}" for text in dict.fromkeys(found)]
