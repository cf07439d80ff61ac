"""Files of noise-aware layers, and of the encoder that they stand in.

What was trained are the layers; their file seldom holds the frozen encoder,
which others publish. So the weights of a network come from two files, and what
one says about the other is checked.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.encoders import family, noise_aware
from asd_jax.encoders.family import Encoder, Family, Settings
from asd_jax.weights import rules, sizes

Tree = Any
Tensors = Mapping[str, np.ndarray]
# Where parameters of the encoder inside and of the layers are in the tree.
BASE, LAYERS = "base", "layers"
# No weight tells the heads; of all published files these are eight.
HEADS = 8
# Settings that layers alone tell.
TOLD = ("width", "depth", "layer_heads", "layer_hidden", "kind")
# Names of settings in `model_cfg`.
_BASES = ("model_id", "base_model_id", "base_id", "base_model", "base",
          "hub_id", "file")  # fmt: skip
# Entries of `model_cfg` that are of other networks than the layers.
_OTHERS = ("base", "teacher", "encoder", "org_model", "backbone")
_DEPTH = 5
_HIDDEN = ("hidden_dim", "hidden_size", "ffn_hidden", "ffn_dim")
_TIMES = ("hidden_dim_multiplier", "ffn_multiplier")


class Told(NamedTuple):
  """What a file says about its layers, beside their weights.

  Attributes:
    base: name of the encoder inside, or "".
    num_heads: of the layers, or None.
    hidden: width of their feed-forward parts, or None.
  """

  base: str
  num_heads: int | None
  hidden: int | None


def _settings(
  config: Mapping[str, Any], depth: int, inside: bool = False
) -> Iterator[tuple[str, Any, bool]]:
  """Name and value of all settings, and whether they are the encoder's."""
  for name, value in config.items():
    of_base = inside or str(name).startswith(_OTHERS)
    # A mapping of a file may be part of itself.
    if isinstance(value, Mapping) and depth:
      yield from _settings(value, depth - 1, of_base)
    else:
      yield str(name), value, inside


def told(beside: Mapping[str, Any], width: int) -> Told:
  """Reads what a file of a training says about the layers.

  Args:
    beside: the other entries of the file; `model_cfg` of `hyper_parameters`
      counts, where it is plain values.
    width: D.

  Returns:
    What it says.

  Raises:
    InputError: for a number of heads or a hidden size that can be none.
  """
  around = beside.get("hyper_parameters")
  config = around.get("model_cfg") if isinstance(around, Mapping) else None
  plain = isinstance(config, Mapping)
  found = list(_settings(config, _DEPTH)) if plain else []
  own = {name: value for name, value, inside in found if not inside}
  bases = [v for n, v, _ in found if n in _BASES and isinstance(v, str)]
  heads = sizes.count_in(own, "num_heads", default=None)
  hidden = None
  for name in _HIDDEN:
    hidden = sizes.count_in(own, name, default=hidden)
  for name in _TIMES:
    times = own.get(name)
    number = isinstance(times, int | float) and math.isfinite(times)
    if number and hidden is None:
      hidden = int(width * times)
  return Told(bases[0] if bases else "", heads, hidden)


def notes(beside: Mapping[str, Any]) -> tuple[str, ...]:
  """What could not be checked of a file of layers, in words.

  Args:
    beside: the other entries of the file.

  Returns:
    A line where there is a `model_cfg` that is no plain values.
  """
  around = beside.get("hyper_parameters")
  if around is None:
    return ()
  config = around.get("model_cfg") if isinstance(around, Mapping) else around
  if isinstance(config, Mapping):
    return ()
  return (
    "hyper_parameters has no plain model_cfg: the encoder inside, heads and"
    " hidden size were not compared with it",
  )


def check_heads(settings: Settings) -> None:
  """Refuses layers whose heads cannot share their width.

  Args:
    settings: of the whole network.

  Raises:
    InputError: if they cannot.
  """
  if settings["width"] % settings["layer_heads"]:
    raise errors.InputError(
      f"found {settings['layer_heads']} heads of the noise-aware layers for"
      f" the width {settings['width']}, expected a divisor of it."
    )


def _check(known: Family, settings: Settings, beside: Mapping) -> None:
  """Raises for layers of another encoder, or of another size than published.

  Networks of a width that is not published may have any number of heads, of
  which only their file tells.
  """
  width, hidden = settings["width"], settings["layer_hidden"]
  says = told(beside, width)
  source = known.inner.sources[0]
  want = PurePosixPath(source.hub or source.files[0])
  stem = lambda name: PurePosixPath(name.replace("\\", "/")).name.lower()
  if says.base and stem(says.base) not in (stem(want.name), stem(want.stem)):
    raise errors.InputError(
      f"found layers of {says.base!r} (model_cfg), expected those of"
      f" {want.stem}."
    )
  if says.hidden not in (None, hidden):
    raise errors.InputError(
      f"found the hidden size {says.hidden} in model_cfg for layers of"
      f" {hidden}, expected the same."
    )
  words = dict(layer_heads="heads", layer_hidden="hidden size")
  published = [s for n, s in known.sizes.items() if n != sizes.SMOKE]
  for size in (s for s in published if s["width"] == width):
    for key, word in words.items():
      if settings[key] != size[key]:
        raise errors.InputError(
          f"found {settings[key]} as {word} of the noise-aware layers,"
          f" expected {size[key]}."
        )
  check_heads(settings)


def inner_of(encoder: Encoder) -> Encoder | None:
  """The encoder inside another, as the file of its own has it.

  Args:
    encoder: the whole.

  Returns:
    It, or None where all weights are of one file; so it is of an encoder that
    was adapted, which changes the one inside.
  """
  known, settings = encoder.about.family, encoder.about.settings
  if known.inner is None or encoder.scope != "file":
    return None
  names = next(iter(known.inner.sizes.values()))
  return family.make(known.inner, {name: settings[name] for name in names})


def _is_own(place: str) -> bool:
  return place.startswith(f"{LAYERS}/")


def layer_shapes(settings: Settings) -> dict[str, tuple[int, ...]]:
  """Shapes of the layers' parameters, none of which is made.

  Args:
    settings: of the whole network.

  Returns:
    Shape by place in the tree of the whole.
  """
  layers = noise_aware.Layers(
    settings["depth"],
    settings["kind"],
    settings["layer_heads"],
    settings["layer_hidden"],
  )
  rows = jnp.zeros((1, settings["width"]))
  tree = jax.eval_shape(layers.init, jax.random.key(0), rows, rows)["params"]
  flat: Tree = flax.traverse_util.flatten_dict(tree, sep="/")
  return {f"{LAYERS}/{path}": tuple(x.shape) for path, x in flat.items()}


def holds_base(known: Family, names: Mapping[str, Any]) -> bool:
  """Whether a file holds the encoder inside too, and not only its statistics.

  Args:
    known: family of the whole.
    names: official names of the file.

  Returns:
    True if blocks of it are there.
  """
  block = [
    r.pattern for r in known.rules if r.path.startswith(f"{BASE}/blocks")
  ]
  return any(re.fullmatch(p, name) for p in block for name in names)


def port(
  known: Family,
  tensors: Tensors,
  beside: Mapping[str, Any],
  base: tuple[Tree, Settings] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Makes parameters of layers and of the encoder that they stand in.

  Args:
    known: family of the whole.
    tensors: of the layers' file, by official name.
    beside: the other entries of that file.
    base: parameters and settings of the encoder inside, of its own file; None
      where the file of the layers must hold it.

  Returns:
    The parameters, and the settings of the whole.

  Raises:
    InputError: see `family.port`; or the layers are of another encoder, the
      file's copy of it differs, or it is missing.
  """
  settings = known.sizes_from(tensors, beside)
  _check(known, settings, beside)
  whole = holds_base(known, tensors)
  if base is None and whole:
    return family.port(known, tensors, beside)
  if base is None:
    raise errors.InputError(
      f"found the layers alone, expected the weights of {known.inner.title}"
      " too: name its own file as base."
    )
  params, own = base
  wrong = [
    f"{key} {settings[key]} for {own[key]}"
    for key in ("width", "depth")
    if settings[key] != own[key]
  ]
  if wrong:
    raise errors.InputError(
      f"found noise-aware layers of {', '.join(wrong)}, expected those of"
      f" {known.inner.title} as its file has it."
    )
  settings |= own
  placed = rules.placed(tensors, known.rules)
  _check_copy(known, placed, params)
  layers = {n: x for n, x in tensors.items() if n in _own_names(placed)}
  tree = rules.to_tree(layers, known.rules, layer_shapes(settings))
  return {BASE: params, **tree}, settings


def _own_names(placed: rules.Placed) -> set[str]:
  return {name for path, (name, _) in placed.items() if _is_own(path)}


def layers_alone(
  known: Family, tensors: Tensors, beside: Mapping[str, Any]
) -> dict[str, Any]:
  """Looks at a file of layers without the encoder that they stand in.

  Args:
    known: family of the whole.
    tensors: by official name; of the encoder inside some may be there.
    beside: the other entries of the file.

  Returns:
    Settings of the whole, as far as the layers tell them.

  Raises:
    InputError: if they are not all there.
  """
  settings = known.sizes_from(tensors, beside)
  _check(known, settings, beside)
  names = _own_names(rules.placed(tensors, known.rules))
  own = {n: x for n, x in tensors.items() if n in names}
  rules.to_tree(own, known.rules, layer_shapes(settings))
  return settings


def _check_copy(known: Family, placed: rules.Placed, params: Tree) -> None:
  """Raises if a file's copy of the encoder inside is another."""
  flat: Tree = flax.traverse_util.flatten_dict({BASE: params}, sep="/")
  for path, (name, value) in placed.items():
    if _is_own(path):
      continue
    if path not in flat or not np.array_equal(
      np.asarray(value, np.float32), flat[path]
    ):
      raise errors.InputError(
        f"found {name} unlike that of {known.inner.title}'s own file, expected"
        " a copy of it (are the layers of another encoder?)."
      )
