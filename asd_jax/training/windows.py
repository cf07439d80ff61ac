"""Context windows of many clips, resident on the device as frames."""

from collections.abc import Sequence

import flax.struct
import jax.numpy as jnp
import numpy as np

from asd_jax.typing import Array


class Windows(flax.struct.PyTreeNode):
  """The windows of all training clips; a window never crosses a clip.

  Only the frames are stored: a window is `num_context` rows of `frames`, so
  five-frame windows take a fifth of the memory of their vectors.

  Attributes:
    frames: `[R, M]` frames of all clips, one clip after another.
    start: `[V]` int32, row of each window's first frame.
    is_target: `[V]` True for windows of target-domain clips.
    num_context: frames in a window, static.
  """

  frames: Array
  start: Array
  is_target: Array
  num_context: int = flax.struct.field(pytree_node=False)

  def take(self, index: Array) -> Array:
    """Gathers windows: `[B]` numbers to `[B, num_context * M]`."""
    rows = self.start[index][:, None] + jnp.arange(self.num_context)[None]
    return self.frames[rows].reshape(index.shape[0], -1)  # oldest first


def from_clips(
  clips: Sequence[np.ndarray], is_target: np.ndarray, *, num_context: int
) -> Windows:
  """Lines up the frames of clips, which may differ in length.

  Args:
    clips: `[F_i, M]` frames of each clip.
    is_target: `[N]` bool, one a clip.
    num_context: frames in a window.

  Returns:
    Windows in clip order, then in time order.
  """
  num_frames = np.array([len(c) for c in clips])
  first = np.cumsum(num_frames) - num_frames
  # A clip shorter than a window has none; less than none stops `repeat`.
  num = np.maximum(num_frames - num_context + 1, 0)
  start = np.concatenate(
    [f + np.arange(n) for f, n in zip(first, num, strict=True)]
  )
  return Windows(
    jnp.asarray(np.concatenate(clips)),
    jnp.asarray(start, jnp.int32),
    jnp.asarray(np.repeat(is_target, num)),
    num_context,
  )
