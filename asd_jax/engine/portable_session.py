"""Scores clips with a detector of one file, as `session` does with others."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np

from asd_jax import errors
from asd_jax.data import audio, clips, decode, hearing, windows
from asd_jax.engine import portable, windowed
from asd_jax.engine import section as section_lib
from asd_jax.engine.said import Judged
from asd_jax.scores.fusion import Scores

# Calls of code that is no StableHLO: linear algebra, and marks that XLA reads.
_CALLS = re.compile(
  r"(lapack|cusolver|cublas)_\w+_ffi|(stablehlo|mhlo|chlo)\.\w+|Sharding"
  r"|annotate_device_placement|Eigh|Qr|ProductOfElementaryHouseholderReflectors"
  r"|LuDecomposition|ApproxTopK"
)
_CALLED = re.compile(r'(?:custom_call @"?|call_target_name = ")([^"(\s]+)')


def _ignore(num: int) -> None:
  del num


def _exported(
  program: portable.Program, args: Sequence[Any], out: portable.Answer
) -> jax.export.Exported:
  """A program as jax calls it.

  Args:
    program: of a file.
    args: shapes and types of what it takes.
    out: shapes and types of what it returns.

  Returns:
    An exported function of the same arguments, with the file's code in it: so
    that nothing but StableHLO is read from the file.
  """
  shell = jax.jit(
    lambda *a: jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), out)
  )
  return dataclasses.replace(
    jax.export.export(shell, platforms=program.platforms)(*args),
    fun_name="detector",
    mlir_module_serialized=program.code,
    calling_convention_version=program.convention,
    uses_global_constants=program.global_constants,
    module_kept_var_idx=tuple(range(len(args))),
  )


def _check_code(place: Path, exported: jax.export.Exported) -> None:
  """Refuses code that calls what is no StableHLO, such as Python."""
  try:
    text = exported.mlir_module()
  except RuntimeError as e:  # jaxlib's
    raise errors.InputError(
      f"{place}: found a program that jaxlib cannot read, expected StableHLO."
    ) from e
  called = set(_CALLED.findall(text))
  if odd := sorted(c for c in called if not _CALLS.fullmatch(c)):
    raise errors.InputError(
      f"{place}: found a program that calls {', '.join(odd)}, expected"
      " StableHLO alone."
    )


class Session:
  """A detector of one file, its numbers on the device once they are used.

  Args:
    found: the detector.
    place: its file, for messages.
  """

  def __init__(self, found: portable.Detector, place: Path) -> None:
    self._place = place
    self._found, self._rate = found, found.config["sample_rate"]
    self._lengths = portable.lengths(list(found.sections.values()))
    self._platform = jax.export.default_export_platform()
    self._runs: dict[tuple[int, int], Callable[..., portable.Answer]] = {}
    self._placed: dict[tuple[int, ...], jax.Array] = {}

  @property
  def batch_size(self) -> int:
    """Clips that are scored at once."""
    return self._found.batch_size

  @property
  def num_channels(self) -> int:
    """Channels that a clip must have."""
    return self._found.num_channels

  def check(self, some: Sequence[clips.Clip]) -> None:
    """Refuses clips that the programs do not take, before any is decoded.

    Args:
      some: clips.

    Raises:
      InputError: for a clip of another length, or with too few channels.
    """
    seconds = [f"{n / self._rate:g}" for n in self._lengths]
    for clip in some:
      head = clip.header
      if head.num_channels < self._found.num_channels:
        raise errors.InputError(
          f"{clip.path}: found {head.num_channels} channel, expected"
          f" {self._found.num_channels} (near and far), which this detector"
          " needs."
        )
      num = audio.num_samples_at(head, self._rate)
      if num not in self._lengths:
        raise errors.InputError(
          f"{clip.path}: found {num / self._rate:g} s, expected"
          f" {' or '.join(seconds)} s, which this detector's"
          " file has programs for (asd_jax export --seconds=... makes one with"
          " others)."
        )

  def score(
    self,
    section: section_lib.Section,
    test: Sequence[clips.Clip],
    *,
    advance: Callable[[int], None] = _ignore,
  ) -> Judged:
    """Scores files, see `session.Session.score`.

    Args:
      section: of the detector.
      test: whole files.
      advance: called with the number of windows done, after each batch.

    Returns:
      The system's scores alone, p-values and decisions.

    Raises:
      InputError: for a clip that cannot be used or decoded.
    """
    plan = section.plan(test)
    self.check(plan.clips)
    judged = self._score(section, plan.clips, advance)
    return windowed.join(plan, judged, section)

  def _score(
    self,
    section: section_lib.Section,
    test: Sequence[clips.Clip],
    advance: Callable[[int], None],
  ) -> Judged:
    """Scores clips and windows that were checked, each by itself."""
    num_folds = _num_folds(section)
    score = np.zeros(len(test), np.float32)
    by_fold = np.zeros((len(test), num_folds), np.float32)
    notes = []
    size = self.batch_size
    for batch in decode.batches(test, batch_size=size, sample_rate=self._rate):
      rows = batch.index[batch.index >= 0]
      wave = audio.to_float(batch.audio[:, : self._found.num_channels])
      found = self._run(section, wave.shape[2])(wave, np.int32(len(rows)))
      score[rows] = np.asarray(found.score)[: len(rows)]
      by_fold[rows] = np.asarray(found.by_fold)[: len(rows)]
      if not np.isfinite(score[rows]).all():
        bad = test[rows[np.argmin(np.isfinite(score[rows]))]]
        raise errors.InputError(
          f"{bad.path}: found a score that is not finite."
        )
      titles = {i: windows.title(test[i]) for i, _ in batch.notes}
      notes += [f"{titles[i]}: {text}" for i, text in batch.notes]
      advance(len(rows))
    notes, heard = hearing.split(notes)
    notes += hearing.of_all(heard, section.facts.get("levels", {}))
    notes = windowed.together(notes, test)
    said = section.decide(score, by_fold)
    scores: Any = dict(fused=score, seeds=score[:, None], members={})
    return Judged(Scores(**scores), said.p_value, said.decision, notes)

  def _run(
    self, section: section_lib.Section, num_samples: int
  ) -> Callable[..., portable.Answer]:
    """The program of a length, with the numbers that it takes."""
    key = id(section.state), num_samples
    if key not in self._runs:
      program = self._program(section.state, num_samples)
      self._runs[key] = self._compiled(section, program)
    return self._runs[key]

  def _program(
    self, model: portable.Model, num_samples: int
  ) -> portable.Program:
    for program in model.programs:
      fits = self._platform in program.platforms
      if fits and program.num_samples == num_samples:
        return program
    every = sorted({x for p in model.programs for x in p.platforms})
    raise errors.InputError(
      f"{self._place}: found programs for {', '.join(every)}, expected one for"
      f" {self._platform}, which jax uses here (JAX_PLATFORMS=cpu)."
    )

  def _compiled(
    self, section: section_lib.Section, program: portable.Program
  ) -> Callable[..., portable.Answer]:
    size, like = self.batch_size, jax.ShapeDtypeStruct
    wave = (size, self._found.num_channels, program.num_samples)
    every = [self._argument(x) for x in section.state.arguments]
    given = [i for i in program.kept if i < len(every)]
    new = (like(wave, np.float32), like((), np.int32))
    taken = [i - len(every) for i in program.kept if i >= len(every)]
    numbers = [every[i] for i in given]
    shapes = (size,), (size,), (size, _num_folds(section))
    specs: Any = [like(shape, np.float32) for shape in shapes]
    out = portable.Answer(*specs)
    exported = _exported(program, [*numbers, *(new[i] for i in taken)], out)
    _check_code(self._place, exported)
    call = jax.jit(exported.call)
    return lambda *clips: call(*numbers, *(clips[i] for i in taken))

  def _argument(self, arrays: Sequence[np.ndarray]) -> jax.Array:
    """An argument on the device, copied there once."""
    key = tuple(map(id, arrays))
    if key not in self._placed:
      one = arrays[0] if len(arrays) == 1 else np.stack(arrays)
      self._placed[key] = jax.device_put(one)
    return self._placed[key]


def _num_folds(section: section_lib.Section) -> int:
  return int(section.folds.fold.max()) + 1 if section.folds else 0
