"""Frozen encoders of a system: their weights, caches and what results say."""

from collections.abc import Mapping, Sequence
from typing import Any

from asd_jax import files
from asd_jax.encoders import load, noise_aware_files
from asd_jax.engine import identity, sources, stages
from asd_jax.engine.cache import EmbeddingCache
from asd_jax.engine.embed import Embedder
from asd_jax.engine.programs import Programs
from asd_jax.engine.system import System


def _caches(
  system: System, digests: Mapping[str, str], config: Mapping[str, Any]
) -> dict[str, EmbeddingCache]:
  """The caches of a system's embeddings by branch; none if they are off."""
  mode = config["cache"]
  out = {}
  for name, source in sources.of(system.branches).items():
    spec = {**stages.DEFAULTS, **config["branches"][name]}
    # A user's code may read files of its own: its source does not tell enough
    # for a folder that outlives every run.
    own = any(stages.is_imported(spec[s]) for s in identity.FEATURES)
    root = files.cache_folder("embeddings")
    if mode == "off" or own or root is None:
      continue
    about = {
      "weights": digests[source],
      "features": identity.of_features(spec),
      "sample_rate": config["sample_rate"],
    }
    out[name] = EmbeddingCache(root, about, mode)
  return out


def _read(loaded: Mapping[str, load.Loaded]) -> dict[str, Any]:
  """Parameters by source; an encoder inside several is there once."""
  first: dict[str, Any] = {}
  out = {}
  for name, weights in loaded.items():
    tree = dict(weights.params)
    if weights.base:
      place = noise_aware_files.BASE
      tree[place] = first.setdefault(weights.base, tree[place])
    out[name] = first.setdefault(weights.digest, tree)
  return out


def facts(
  embedder: Embedder, loaded: Mapping[str, load.Loaded]
) -> dict[str, Any]:
  """What the results of a run say about its frozen encoders.

  Args:
    embedder: the embedding stage, after the run.
    loaded: weights by source.

  Returns:
    Plain data, `notes` among it; `{}` without frozen encoders.
  """
  if not loaded:
    return {}
  known = sources.of(embedder.programs.system.branches)
  random = any(load.is_random(w) for w in loaded.values())
  notes = embedder.notes()
  notes += [note for w in loaded.values() for note in w.notes]
  if any(w.origin == load.RANDOM for w in loaded.values()):
    notes.append("encoder weights are random: no score means anything")
  elif random:
    notes.append("encoder weights were random before they were adapted")
  return {
    "random_weights": random,
    "weights": {
      found.digest: {
        "branches": [n for n, s in known.items() if s == source],
        "origin": found.origin,
      }
      for source, found in loaded.items()
    },
    "clips_computed": embedder.counts["computed"],
    "clips_read": embedder.counts["read"],
    "notes": notes,
  }


def joined_facts(every: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """What the results say of several embedding stages.

  Args:
    every: what `facts` returns of each.

  Returns:
    The same of all together.
  """
  some = [f for f in every if f]
  if not some:
    return {}
  known: dict[str, dict[str, Any]] = {}
  for digest, about in (x for f in some for x in f["weights"].items()):
    one = known.setdefault(digest, {**about, "branches": []})
    one["branches"] = sorted({*one["branches"], *about["branches"]})
  return {
    "random_weights": any(f["random_weights"] for f in some),
    "weights": known,
    "clips_computed": sum(f["clips_computed"] for f in some),
    "clips_read": sum(f["clips_read"] for f in some),
    "notes": sorted({n for f in some for n in f["notes"]}),
  }


def open_embedder(
  system: System,
  loaded: Mapping[str, load.Loaded],
  config: Mapping[str, Any],
  *,
  programs: Programs | None = None,
) -> Embedder:
  """Makes the embedding stage of a system.

  Args:
    system: the system.
    loaded: weights by source.
    config: `batch_size`, `sample_rate` and `cache`.
    programs: of the same system with other weights, which are compiled.

  Returns:
    The stage.
  """
  digests = {n: w.digest for n, w in loaded.items()}
  read = lambda: _read(loaded)
  if programs is None:
    programs = Programs(system, read, config["batch_size"])
  else:
    programs = programs.with_weights(read)
  caches = _caches(system, digests, config)
  return Embedder(programs, caches, config["sample_rate"])
