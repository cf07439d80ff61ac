"""What comes before an encoder: the records that all front ends share."""

from collections.abc import Callable
from typing import Any, NamedTuple

from asd_jax.ops.masks import Ragged
from asd_jax.typing import Array

Tree = Any


def _same(num: int) -> int:
  return num


class Framing(NamedTuple):
  """How a waveform is cut into spectra.

  Attributes:
    fft_samples: window and transform length, samples.
    hop_samples: hop, samples.
    pad_mode: edges of the transform, `"constant"` (zeros) or `"reflect"`.
  """

  fft_samples: int = 1024
  hop_samples: int = 512
  pad_mode: str = "constant"


class Frontend(NamedTuple):
  """A step from a waveform towards the input of an encoder.

  Nothing is learned by gradient; statistics of the training clips may be
  fitted, from sums over clips, so that one pass of constant memory fits them
  and devices may share the work. Denoisers, wave filters and front ends differ
  in what they take and return only.

  Attributes:
    measure: one training clip to sums that add over clips and devices; None
      where nothing is fitted.
    fit: sums of all training clips to the state; None likewise.
    apply: `(state, clip) -> output`; the state is `{}` where nothing is
      fitted. A front end maps `[C, S]` to `[C', T, M]`, a wave filter to
      `[C', S]`, a denoiser `[2, T, F]` spectra to `[T, F]` power.
    num_frames: `S -> T`, the number of frames.
    min_samples: `T -> S`, samples needed for `T` frames; at least one whole
      window.
    num_channels: channels that it needs: 1, or 2 (near and far), of which it
      makes one.
    framing: of a denoiser, the spectra that it was published with.
    sample_rate: of the waveforms that it is made for, Hz; None where it counts
      in samples only and takes any.
    apply_part: `(state, clip, num []) -> output`, the same of the first `num`
      samples of a clip that ends in zeros, so that clips of different lengths
      share a program; `Ragged` where the shape of an output depends on the
      length. None if it cannot: then there is a program for each length.
    measure_part: `(clip, num []) -> sums` likewise.
  """

  measure: Callable[[Array], Tree] | None
  fit: Callable[[Tree], Tree] | None
  apply: Callable[[Tree, Array], Array]
  # Wave filters and denoisers keep the length; front ends say theirs.
  num_frames: Callable[[int], int] = _same
  min_samples: Callable[[int], int] = _same
  num_channels: int = 1
  framing: Framing = Framing()
  sample_rate: int | None = None
  apply_part: Callable[[Tree, Array, Array], Array | Ragged] | None = None
  measure_part: Callable[[Array, Array], Tree] | None = None


class Augment(NamedTuple):
  """Makes clips from training clips.

  Attributes:
    measure: `[C, S]` one training clip to sums that add over clips and
      devices; None where nothing is fitted.
    fit: sums of all training clips to the state; None likewise.
    apply: `(one draw, [C, S]) -> [C, S]`.
    count: `(state, number of source clips) -> number` of clips to make, on the
      host.
    draw: `number -> tree` with that leading axis: what each is made with.
    num_channels: channels that it needs.
    measure_part: see `Frontend`; `apply` works sample by sample and has no
      need of a length.
  """

  measure: Callable[[Array], Tree] | None
  fit: Callable[[Tree], Tree] | None
  apply: Callable[[Tree, Array], Array]
  count: Callable[[Tree, int], int]
  draw: Callable[[int], Tree]
  num_channels: int = 1
  measure_part: Callable[[Array, Array], Tree] | None = None


def takes_parts(stage: Frontend | Augment) -> bool:
  """Whether a stage takes clips of different lengths in one program.

  Args:
    stage: of what comes before an encoder.

  Returns:
    False where it needs a program for each length.
  """
  applies = isinstance(stage, Augment) or stage.apply_part is not None
  return applies and (stage.measure is None or stage.measure_part is not None)
