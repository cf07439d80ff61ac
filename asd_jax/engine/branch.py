"""A branch: one path from a clip to a score, as a record of pure functions.

`encode` holds what is done before and in the encoder, `detect` what is done
behind it; both are functions of these records, so that a branch can be read,
replaced and compared like data.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from asd_jax.backends import base, transform
from asd_jax.encoders.family import Encoder
from asd_jax.encoders.heads import Head
from asd_jax.encoders.places import Checkpoint
from asd_jax.engine.recipe import Recipe
from asd_jax.engine.stages import Hypers
from asd_jax.frontends.base import Augment, Frontend
from asd_jax.ops.crops import Crops
from asd_jax.scores import calibration
from asd_jax.training import reconstruction
from asd_jax.typing import Array

Tree = Any


class Front(NamedTuple):
  """What comes before the encoder, in the order in which it is fitted.

  Attributes:
    denoise: `[C, S]` to a cleaner `[C', S]`.
    frontend: `[C', S]` to what the encoder takes.
    augment: makes more training clips.
  """

  denoise: Frontend
  frontend: Frontend
  augment: Augment


class Adapt(NamedTuple):
  """How an encoder is trained on over machines, before it sees one.

  Attributes:
    recipe: how.
    base: the encoder with published weights.
    learner: the same as it is trained, which may take less memory.
    head: what makes the embedding, see `encoders.heads`.
    channels: of the clips heard in training.
    decides: plain data, all that decides the network but for published
      weights, clips and seed.
  """

  recipe: Recipe
  base: Encoder
  learner: Encoder
  head: Head
  channels: tuple[int, ...]
  decides: dict[str, Any]


class Source(NamedTuple):
  """Where the tokens of an encoder come from.

  Attributes:
    checkpoint: published weights as the config names them; of layers and of
      the encoder inside where it names both.
    layer: name of the token sequence that is taken.
    passes: what decides the network's output for a clip, but for the weights
      themselves, as text; branches where it is equal share one pass.
    recipe: how the encoder is trained on one machine's clips, if it is.
    seeds: of an encoder that is adapted over machines; none of others.
    adapt: how that is done.
  """

  checkpoint: str | Checkpoint
  layer: str
  passes: str
  recipe: reconstruction.Recipe
  seeds: tuple[int, ...] = ()
  adapt: Adapt | None = None


class Detect(NamedTuple):
  """The stages behind the encoder, each with its structure bound.

  Those that have scalars take them as keywords, so that a sweep may trace
  them; `h` below stands for the scalars of all stages.

  Attributes:
    pool: frames or token grid of one channel to a vector, or to frames.
    pool_part: `(frames, num []) -> vector` of those that count; None if it has
      no such.
    of_cls: whether it is the CLS token that is pooled.
    view: `([C', ...], **scalars) -> [...]`, the channels to one embedding.
    key: `[C', ...] -> [...]`, a second embedding to choose prototypes by, or
      None.
    transform: `**scalars -> Transform`, fitted on training embeddings.
    bank: `(Bank, **scalars) -> Bank`, adds rows.
    backend: `h -> Backend` in its wrappers.
    calibration: `**scalars -> Calibrator`.
    reference: where training scores come from, `"loo"` or `"in_sample"`.
  """

  pool: Callable[[Array], Array]
  pool_part: Callable[[Array, Array], Array] | None
  of_cls: bool
  view: Callable[..., Array]
  key: Callable[[Array], Array] | None
  transform: Callable[..., transform.Transform]
  bank: Callable[..., base.Bank]
  backend: Callable[[Hypers], base.Backend]
  calibration: Callable[..., calibration.Calibrator]
  reference: str


class Branch(NamedTuple):
  """One path from a clip to a score.

  Attributes:
    channels: which of a clip's channels, in order.
    front: what comes before the encoder.
    crops: parts of a clip whose embeddings are averaged, or None.
    encoder: front-end output to tokens.
    source: where the tokens come from.
    detect: what comes behind the encoder.
    when: machines that the branch is for, a key of `WHEN`.
  """

  channels: tuple[int, ...]
  front: Front
  crops: Crops | None
  encoder: Encoder
  source: Source
  detect: Detect
  when: str


Branches = Mapping[str, Branch]
# Whether a branch counts for a machine whose clips have attributes.
WHEN: dict[str, Callable[[bool], bool]] = {
  "always": lambda has_attributes: True,
  "attributes": lambda has_attributes: has_attributes,
  "no_attributes": lambda has_attributes: not has_attributes,
}
