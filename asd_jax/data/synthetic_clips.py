"""Which clips a synthetic set has, and what is wrong in each."""

import itertools
import math
from typing import NamedTuple

from asd_jax import errors
from asd_jax.data.machine_sound import MACHINES

DOMAINS = ("source", "target")
MIN_SEVERITY = 0.25
_GOLDEN = (math.sqrt(5) - 1) / 2


class Clip(NamedTuple):
  """One recording to be made.

  Attributes:
    machine: kind of machine, a key of `MACHINES`.
    split: "train" or "test".
    domain: "source" or "target".
    label: "normal" or "anomaly".
    index: from 0 in every (split, domain, label).
  """

  machine: str
  split: str
  domain: str
  label: str
  index: int

  @property
  def setting(self) -> int:
    """Number of the attribute value; every one comes with every fault."""
    kind = MACHINES[self.machine]
    turn = self.index // len(kind.faults) if self.label == "anomaly" else 0
    return (self.index + turn) % max(1, len(getattr(kind, self.domain)))

  @property
  def attribute(self) -> str:
    """Text in the file name, `noAttribute` for none."""
    values = getattr(MACHINES[self.machine], self.domain)
    return values[self.setting] if values else "noAttribute"

  @property
  def fault(self) -> str:
    """Name of the fault, "" when normal; faults take turns."""
    if self.label == "normal":
      return ""
    faults = MACHINES[self.machine].faults
    return faults[(self.index + DOMAINS.index(self.domain)) % len(faults)]

  @property
  def severity(self) -> float:
    """Severity of the fault, spread evenly above `MIN_SEVERITY`."""
    if self.label == "normal":
      return 0.0
    spread = ((self.index + 1) * _GOLDEN) % 1.0
    return MIN_SEVERITY + (1 - MIN_SEVERITY) * spread

  @property
  def path(self) -> str:
    """Path below the folder of the set, in the challenge's form."""
    return (
      f"{self.machine}/{self.split}/section_00_{self.domain}_{self.split}_"
      f"{self.label}_{self.index:04d}_{self.attribute}.wav"
    )


def plan(
  machine: str, *, num_source: int, num_target: int, num_test: int
) -> list[Clip]:
  """Lists the clips of a machine.

  Args:
    machine: kind of machine.
    num_source: train clips of the source domain.
    num_target: train clips of the target domain.
    num_test: test clips of each domain and label.

  Returns:
    The clips, train first.

  Raises:
    InputError: an unknown machine or a number out of range.
  """
  check_known(machine)
  check_range("num_source", num_source, 0, 10_000)
  check_range("num_target", num_target, 0, 10_000)
  check_range("num_test", num_test, 0, 10_000)
  groups = [("train", "source", "normal", num_source)]
  groups += [("train", "target", "normal", num_target)]
  for domain, label in itertools.product(DOMAINS, ("normal", "anomaly")):
    groups.append(("test", domain, label, num_test))
  return [
    Clip(machine, split, domain, label, index)
    for split, domain, label, num in groups
    for index in range(num)
  ]


def check_range(name: str, value: float, low: float, high: float) -> None:
  """Raises InputError for a setting out of its range."""
  if not low <= value <= high:
    raise errors.InputError(f"{name}: found {value}, expected {low} to {high}")


def check_known(machine: str) -> None:
  """Raises InputError for a machine that has no sound here."""
  if machine not in MACHINES:
    raise errors.InputError(
      f"machine: found {machine!r}, expected {[*MACHINES]}"
    )
