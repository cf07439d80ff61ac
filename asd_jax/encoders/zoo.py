"""All encoders: the only table of families.

What configs may name, what is converted and found, what a file looks like and
what messages list comes from here. A new family is a file of its own and a
line of `FAMILIES`.
"""

from collections.abc import Callable, Iterable

from asd_jax import errors
from asd_jax.encoders import (
  audiomae,
  audiomaepp,
  autoencoder,
  beats,
  ced,
  dasheng,
  eat,
  family,
  fisher,
  m2d_clap,
  noise_aware_families,
)

FAMILIES: dict[str, family.Family] = {
  f.name: f
  for f in (
    beats.FAMILY,
    eat.FAMILY,
    eat.SSLAM,
    dasheng.FAMILY,
    m2d_clap.FAMILY,
    ced.FAMILY,
    fisher.FAMILY,
    audiomae.FAMILY,
    audiomae.FINETUNED,
    audiomaepp.FAMILY,
    noise_aware_families.NA_BEATS,
    noise_aware_families.NA_EAT,
    noise_aware_families.NA_DASHENG,
    noise_aware_families.FILM_BEATS,
    noise_aware_families.D_BEATS,
  )
}
# The stage "encoder" of a config.
ENCODERS: dict[str, Callable[..., family.Encoder]] = {
  "identity": lambda: family.IDENTITY,
  **autoencoder.ENCODERS,
  **FAMILIES,
}
# Models that have no encoder here, by a name of their weights: some whose
# names leave no doubt, and some that look like a family or like each other.
_TELLING = (
  (r"quantize.*", "a BEATs tokenizer"),
  (r"(encoder\.)?init_bn\.(weight|bias)", "CED"),
)
_ALIKE = ((audiomae.NAMES.look, "another ViT"),)


def _looks() -> Iterable[tuple[str, str]]:
  """What a name of a weight tells, most telling first."""
  titles: dict[str, list[str]] = {}
  families = [(f.names.look, f.title) for f in FAMILIES.values()]
  for pattern, title in (*families, *_ALIKE):
    titles.setdefault(pattern, []).append(title)
  yield from _TELLING
  # A name that one model alone has tells more than one that several have.
  by_number = sorted(titles.items(), key=lambda item: len(item[1]) > 1)
  for pattern, (*more, last) in by_number:
    yield pattern, f"{', '.join(more)} or {last}" if more else last


LOOKS = tuple(_looks())


def find(name: str) -> family.Family:
  """The family of a name.

  Args:
    name: key of `FAMILIES`.

  Returns:
    The family.

  Raises:
    InputError: if there is no such.
  """
  if name not in FAMILIES:
    raise errors.InputError(
      f"found the family {name!r}, expected one of {', '.join(FAMILIES)}."
    )
  return FAMILIES[name]


def title_of(name: str) -> str:
  """Name of a family in messages.

  Args:
    name: key of `FAMILIES`, or what a folder says it holds.

  Returns:
    The title, or the name as it is where the family is not here.
  """
  return FAMILIES[name].title if name in FAMILIES else name
