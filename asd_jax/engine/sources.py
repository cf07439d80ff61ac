"""Where the weights of a system's encoders come from, and who shares them."""

from collections.abc import Mapping
from typing import Any

from asd_jax import errors
from asd_jax.encoders import adapted, family, places
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
  _check_channels(where, spec, front, encoder)
  optional = ("adapt", "base")
  settings = {k: v for k, v in bound.chosen.items() if k not in optional or v}
  if not has_weights(encoder):
    if settings:
      raise errors.InputError(
        f"{where}: found {[*settings]}, which only encoders with published"
        " weights have."
      )
    return encoder, Source("", "output", name, bound.recipe)
  checkpoint = _checkpoint(where, settings, encoder)
  source = Source(checkpoint, "output", bound.passes, bound.recipe)
  if "adapt" in settings:
    adapt = _adapt(f"{where}: adapt", spec, front, bound, encoder)
    encoder = adapted.make(
      adapt.base,
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


def _check_channels(
  where: str, spec: Mapping[str, Any], front: Front, encoder: family.Encoder
) -> None:
  """Refuses an encoder of near and far that would get something else."""
  if not (has_weights(encoder) and encoder.about.family.input.joint):
    return
  channels = tuple(spec["channels"])
  num = 1 if merges(front) else len(channels)
  if num != 2:
    raise errors.InputError(
      f"{where}: found {num} channels behind the front end, expected near and"
      f" far; channels={channels}."
    )


def _checkpoint(
  where: str, settings: Mapping[str, Any], encoder: family.Encoder
) -> str | places.Checkpoint:
  """Where a config has published weights from."""
  for key in ("checkpoint", "base"):
    if not isinstance(settings.get(key, ""), str):
      raise errors.InputError(
        f"{where}: {key}: found {settings[key]!r}, expected a path or a name on"
        " the hub."
      )
  checkpoint, base = (settings.get(k, "") for k in ("checkpoint", "base"))
  if not base:
    return checkpoint
  if encoder.about.family.inner is None:
    raise errors.InputError(
      f"{where}: base: found {base!r}, which only noise-aware encoders have."
    )
  return places.Checkpoint(checkpoint, base)


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
  joint = base.about.family.input.joint
  base = adapted.near_alone(base)
  for channels in (trained, used):
    left = 1 if joint or merges(front) else len(channels)
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
  learner = base
  if recipe.remat:
    learner = adapted.near_alone(bound.fns["encoder"](remat=True))
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
) -> dict[str, tuple[family.Encoder, str | places.Checkpoint]]:
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
) -> dict[str, tuple[family.Encoder, str | places.Checkpoint]]:
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
