"""Networks of a pre-training: a frozen encoder, and the same with layers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.data import audio
from asd_jax.encoders import family
from asd_jax.engine import distil_config, stages
from asd_jax.frontends.base import Frontend
from asd_jax.training.distillation import Heard
from asd_jax.typing import Array, Key

Tree = Any


class Networks(NamedTuple):
  """A frozen encoder, and the same with trained layers.

  Attributes:
    student: encoder with layers.
    base: encoder alone.
    front: the front end of both.
    precision: key of `family.DTYPES`.
    dropout: of the layers' attention, in training.
    gradient_decay: of each block, on the way back.
    remat: whether blocks are computed again for gradients.
  """

  student: family.Encoder
  base: family.Encoder
  front: Frontend
  precision: str
  dropout: float
  gradient_decay: float
  remat: bool


class Student(NamedTuple):
  """The encoder with layers, as a step needs it.

  Attributes:
    fresh: `key -> layers` that change nothing.
    apply: `(layers, frozen, key, near and far [2, T, M]) -> Heard`.
  """

  fresh: Callable[[Key], Tree]
  apply: Callable[[Tree, Tree, Key | None, Array], Heard]


def num_samples(config: Mapping[str, Any]) -> int:
  """Samples S of an example.

  Args:
    config: complete.

  Returns:
    Their number.
  """
  return round(config["seconds"] * audio.SAMPLE_RATE)


def make(config: Mapping[str, Any]) -> Networks:
  """Makes the networks of a config.

  Args:
    config: complete.

  Returns:
    The networks.

  Raises:
    InputError: for a front end or a length that does not fit them.
  """
  known = distil_config.FAMILIES[config["encoder"]["name"]]
  base: family.Family = known.inner
  size, precision = config["encoder"]["size"], config["precision"]
  front, _ = stages.resolve(
    "frontend", config["frontend"], stages.TABLES["frontend"]
  )
  made = Networks(
    known(size=size, dtype=precision),
    base(size=size, dtype=precision),
    front(),
    precision,
    **config["student"],
  )
  _check(config, made)
  return made


def _check(config: Mapping[str, Any], made: Networks) -> None:
  """Refuses what the networks cannot hear."""
  front, about, name = made.front, made.student.about, config["frontend"]
  if front.fit is not None or front.num_channels != 1:
    raise errors.InputError(
      f"config: frontend: found {name['name']!r}, expected one that is fitted"
      " to nothing and takes one channel."
    )
  wave = jax.ShapeDtypeStruct((1, num_samples(config)), jnp.float32)
  try:
    bands = jax.eval_shape(lambda x: front.apply({}, x), wave).shape
    about.num_patches(bands[1])
  except errors.InputError as e:
    raise errors.InputError(f"config: seconds: {e}") from e
  if bands[2] != about.num_mels:
    raise errors.InputError(
      f"config: frontend: found {bands[2]} bands, expected the"
      f" {about.num_mels} of {about.family.title}."
    )


def _products(made: Networks) -> str:
  # Accelerators round the inputs of a float32 product unless told not to.
  return "highest" if made.precision == "float32" else "default"


def _heard(rows: Array, num_extra: int) -> Heard:
  """Tokens `[L, D]`, the one before the patches apart."""
  return Heard(rows[num_extra:], rows[0] if num_extra else None)


def student(made: Networks) -> Student:
  """What a step needs of the encoder with layers.

  Args:
    made: the networks.

  Returns:
    It.
  """
  about = made.student.about
  module: Any = about.family.network(
    **about.settings,
    dtype=family.DTYPES[made.precision],
    remat=made.remat,
    gradient_decay=made.gradient_decay,
    dropout=made.dropout,
  )
  joint, num_extra = about.family.input.joint, about.family.input.num_extra

  def fresh(key: Key) -> Tree:
    rows = jnp.zeros((2, about.width))
    *_, layers = module.parts()
    return layers.init(key, rows, rows)["params"]

  def apply(trained: Tree, frozen: Tree, key: Key | None, pair: Array) -> Heard:
    params = {"base": frozen["base"], "layers": trained}
    keys = {"dropout": key} if key is not None and made.dropout else None
    x = pair if joint else pair[0]
    with jax.default_matmul_precision(_products(made)):
      out = module.apply({"params": params}, x, rngs=keys)["output"]
    return _heard(out[0] if joint else out, num_extra)

  return Student(fresh, apply)


def teacher(made: Networks) -> Callable[[Tree, Array], Heard]:
  """What a step needs of the encoder alone.

  Args:
    made: the networks.

  Returns:
    `(frozen, clean [1, T, M]) -> Heard`.
  """
  about = made.base.about
  module = about.family.network(
    **about.settings, dtype=family.DTYPES[made.precision]
  )

  def apply(frozen: Tree, clean: Array) -> Heard:
    with jax.default_matmul_precision(_products(made)):
      out: Any = module.apply({"params": frozen["base"]}, clean[0])
    return _heard(out["output"], about.family.input.num_extra)

  return apply
