"""Where published weights are: file names, hub names, licences."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from asd_jax.encoders import beats, dasheng, eat, sslam

SIZES: dict[str, Mapping[str, Mapping[str, Any]]] = {
  "beats": beats.SIZES,
  "eat": eat.SIZES,
  "sslam": sslam.SIZES,
  "dasheng": dasheng.SIZES,
}
# The file of a hub folder; SSLAM's training code has a name as plain.
HUB_FILE = "model.safetensors"
_PLAIN_NAMES = (HUB_FILE, "checkpoint_last.pt")


class Source(NamedTuple):
  """Published weights.

  Attributes:
    title: what they are called.
    family: key of `weight_map.FAMILIES`.
    size: of the family.
    files: names of the files that hold them; one is enough.
    hub: `owner/name` on the Hugging Face hub, or "".
    where: further places, in words.
    licence: of the weights.
  """

  title: str
  family: str
  size: str
  files: tuple[str, ...]
  hub: str
  where: str
  licence: str


_UNILM = "README of `microsoft/unilm`, folder `beats`"
_BEATS_LICENCE = "MIT (repository; none stated for the weights)"
_EAT = "`.pt` files through the README of `cwx-worst-one/EAT`"
_ZENODO = "`.pt` file: Zenodo record 11511780"
_FINE_TUNED = tuple(
  f"BEATs_iter3{plus}_finetuned_on_AS2M_cpt{i}.pt"
  for plus in ("", "_plus_AS2M")
  for i in (1, 2)
)
# Of several with one family and size, the first is what a system means that
# names no file.
SOURCES = (
  Source(
    "BEATs iter3",
    "beats",
    "base",
    ("BEATs_iter3.pt",),
    "",
    f"links in the {_UNILM} (they break at times; no stable hub copy known)",
    _BEATS_LICENCE,
  ),
  Source(
    "BEATs iter3+ AS2M",
    "beats",
    "base",
    ("BEATs_iter3_plus_AS2M.pt",),
    "",
    "the same links; copies on the hub: model `lpepino/beats_ckpts`, dataset"
    " `Bencr/beats-checkpoints`",
    _BEATS_LICENCE,
  ),
  Source(
    "BEATs fine-tuned on AudioSet",
    "beats",
    "base",
    _FINE_TUNED,
    "",
    "the same links; the classifier head is left out",
    _BEATS_LICENCE,
  ),
  Source(
    "EAT-base",
    "eat",
    "base",
    (HUB_FILE,),
    "worstchan/EAT-base_epoch30_pretrain",
    _EAT,
    "MIT (hub card)",
  ),
  Source(
    "EAT-large",
    "eat",
    "large",
    (HUB_FILE,),
    "worstchan/EAT-large_epoch20_pretrain",
    _EAT,
    "MIT (hub card)",
  ),
  Source(
    "SSLAM",
    "sslam",
    "base",
    (HUB_FILE, "checkpoint_last.pt"),
    "ta012/SSLAM_pretrain",
    "`.pt` file through the README of `ta012/SSLAM`",
    "MIT (repository; hub licence field not checked)",
  ),
  *(
    Source(
      f"DaSheng {size}",
      "dasheng",
      size,
      (HUB_FILE, file),
      f"mispeech/dasheng-{size}",
      _ZENODO,
      "Apache-2.0 (LICENSE file)",
    )
    for size, file in (
      ("base", "dasheng_base.pt"),
      ("0.6B", "dasheng_06b.pt"),
      ("1.2B", "dasheng_12b.pt"),
    )
  ),
)


def size_of(family: str, settings: Mapping[str, Any]) -> str | None:
  """The published size of some settings.

  Args:
    family: key of `weight_map.FAMILIES`.
    settings: of a network.

  Returns:
    The size, or None if there is no such.
  """
  for size, known in SIZES.get(family, {}).items():
    if dict(known) == dict(settings):
      return size
  return None


def source_of(family: str, size: str | None) -> Source | None:
  """What a system means by a family and a size.

  Args:
    family: key of `weight_map.FAMILIES`.
    size: as `size_of` returns it.

  Returns:
    The source, or None if there is no such.
  """
  found = [s for s in SOURCES if (s.family, s.size) == (family, size)]
  return found[0] if found else None


def own_names(source: Source) -> tuple[str, ...]:
  """Names of files that tell which weights are inside.

  Args:
    source: the weights.

  Returns:
    The names, without those that many models share.
  """
  return tuple(name for name in source.files if name not in _PLAIN_NAMES)
