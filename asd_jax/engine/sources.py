"""Where the weights of a system's encoders come from, and who shares them."""

from collections.abc import Mapping
from typing import Any

from asd_jax import errors
from asd_jax.encoders import adapted, family
from asd_jax.engine import identity, stages
from asd_jax.engine import recipe as recipes
from asd_jax.engine.branch import Adapt, Branches, Front, Source

# Stages that decide what a network hears.
_HEARD = ("denoise", "frontend")


def has_weights(encoder: family.Encoder) -> bool:
  """Whether an encoder has parameters before it sees a machine's clips."""
  return encoder.scope in ("file", "run")


def build(
  name: str,
  spec: Mapping[str, Any],
  front: Front,
  bound: stages.Bound,
  seeds: tuple[int, ...],
) -> tuple[family.Encoder, Source]:
  """Makes the encoder of a branch, and says where its tokens come from.

  Args:
    name: of the branch, for messages.
    spec: its settings.
    front: what comes before the encoder.
    bound: its stages.
    seeds: of the branch.

  Returns:
    The encoder, adapted if the config says so, and its source.

  Raises:
    InputError: for settings that do not fit, an unknown layer, and settings
      that only other encoders have.
  """
  place = f"config: branch {name}"
  try:
    encoder = bound.fns["encoder"]()
  except errors.InputError as e:
    raise errors.InputError(f"{place}: encoder: {e}") from e
  where = f"{place}: encoder {spec['encoder']['name']}"
  settings = {k: v for k, v in bound.chosen.items() if k != "adapt" or v}
  if not has_weights(encoder):
    if settings:
      raise errors.InputError(
        f"{where}: found {[*settings]}, which only encoders with published"
        " weights have."
      )
    return encoder, Source("", "output", name, bound.recipe)
  checkpoint = settings.get("checkpoint", "")
  if not isinstance(checkpoint, str):
    raise errors.InputError(
      f"{where}: checkpoint: found {checkpoint!r}, expected a path or a name on"
      " the hub."
    )
  source = Source(checkpoint, "output", bound.passes, bound.recipe)
  if "adapt" in settings:
    adapt = _adapt(f"{where}: adapt", spec, front, bound, encoder)
    encoder = adapted.make(
      encoder,
      adapt.head,
      layer=adapt.recipe.layer,
      num_seeds=len(seeds),
      about=dict(adapt.recipe.head),
    )
    source = source._replace(
      passes=stages.text_of([bound.passes, seeds]), seeds=seeds, adapt=adapt
    )
  layer = settings.get("layer", "output")
  if layer not in encoder.about.layers:
    raise errors.InputError(
      f"{where}: layer: found {layer!r}, expected one of"
      f" {encoder.about.layers}."
    )
  return encoder, source._replace(layer=layer)


def _adapt(
  where: str,
  spec: Mapping[str, Any],
  front: Front,
  bound: stages.Bound,
  base: family.Encoder,
) -> Adapt:
  """How an encoder is adapted over machines; refuses what cannot be."""
  recipe = recipes.read(where, bound.chosen["adapt"])
  head = recipes.head(where, recipe)
  used = tuple(spec["channels"])
  trained = recipe.channels or used
  for channels in (trained, used):
    left = 1 if merges(front) else len(channels)
    if left != head.num_channels:
      raise errors.InputError(
        f"{where}: head {recipe.head['name']}: found {left} channels behind the"
        f" front end, expected {head.num_channels}; channels={channels}."
      )
  heard = 1 if merges(front) else len(trained)
  for change in recipes.changes(where, recipe):
    if change.num_channels > heard:
      raise errors.InputError(
        f"{where}: augment: found {heard} channel behind the denoiser, expected"
        f" {change.num_channels}, which one of"
        f" {[a['name'] for a in recipe.augment]} needs."
      )
  if recipe.layer not in base.about.layers:
    raise errors.InputError(
      f"{where}: layer: found {recipe.layer!r}, expected one of"
      f" {base.about.layers}."
    )
  if fitted := [s for s in _HEARD if getattr(front, s).measure]:
    raise errors.InputError(
      f"{where}: found {fitted[0]} {spec[fitted[0]]['name']!r}, which is fitted"
      " to each machine; expected one that is not, for a network of all"
      " machines."
    )
  learner = bound.fns["encoder"](remat=True) if recipe.remat else base
  own = {k: v for k, v in spec["encoder"].items() if k not in stages.CHOSEN}
  decides = {
    "recipe": recipes.plain(recipe),
    "encoder": identity.of_encoder(own),
    "channels": list(trained),
    **{s: identity.of_stage(s, spec[s], stages.TABLES[s]) for s in _HEARD},
  }
  return Adapt(recipe, base, learner, head, trained, decides)


def merges(front: Front) -> bool:
  """Whether near and far become one channel before the encoder."""
  return any(getattr(front, s).num_channels > 1 for s in _HEARD)


def of(branches: Branches) -> dict[str, str]:
  """Which branches have weights in common.

  Args:
    branches: by name.

  Returns:
    Branch to the first one with the same weights, of branches whose encoder
    has some before it sees a machine. That first name stands for the weights
    elsewhere.
  """
  # By content, not by name: a size may be spelt out in one branch.
  first: dict[Any, str] = {}
  out = {}
  for name, branch in branches.items():
    if has_weights(branch.encoder):
      about, source = branch.encoder.about, branch.source
      settings = repr(sorted(about.settings.items()))
      adapt = source.adapt and stages.text_of(source.adapt.decides)
      name_of = about.family.name, source.checkpoint, source.seeds
      what = *name_of, settings, adapt
      out[name] = first.setdefault(what, name)
  return out


def fold_name(source: str, k: int) -> str:
  """Name of the weights of a source that have not seen a fold."""
  return f"{source} without fold {k + 1}"


def encoders(
  branches: Branches, *, num_folds: int = 0
) -> dict[str, tuple[family.Encoder, str]]:
  """Encoders with weights, and where the config has published ones from.

  Args:
    branches: by name.
    num_folds: of the adaptation; those of each are named by `fold_name`.

  Returns:
    Source (see `of`) to encoder and checkpoint.
  """
  own = {
    n: (branches[n].encoder, branches[n].source.checkpoint)
    for n in dict.fromkeys(of(branches).values())
  }
  adapts = [n for n, (encoder, _) in own.items() if encoder.scope == "run"]
  folds = range(num_folds)
  return own | {fold_name(n, k): own[n] for n in adapts for k in folds}


def num_folds(config: Mapping[str, Any]) -> int:
  """Folds without which encoders are adapted too; 0 for none.

  Args:
    config: of a system; of an old detector it has no such setting.
  """
  return config.get("adapt", {}).get("folds", 0)


def published(
  branches: Branches,
) -> dict[str, tuple[family.Encoder, str]]:
  """What published weights a system needs, and where it has them from.

  Args:
    branches: by name.

  Returns:
    As `encoders`, with the encoders that others are adapted from.
  """
  bases = {n: branches[n].source.adapt for n in encoders(branches)}
  return {
    n: (adapt.base if (adapt := bases[n]) else encoder, checkpoint)
    for n, (encoder, checkpoint) in encoders(branches).items()
  }
