"""The challenge's package of a run, its meta file filled with what is known.

Development and evaluation sets stay apart: what a challenge takes are scores of
the evaluation set, and results of the development set.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from asd_jax import errors
from asd_jax.data import submission, submission_meta, submission_write
from asd_jax.encoders import family
from asd_jax.engine import decide, sources
from asd_jax.engine import system as system_lib
from asd_jax.metrics import official

Config = Mapping[str, Any]
Tables = Mapping[str, Mapping[str, submission_write.Rows]]
# In the folder of the package, where there is an evaluation set beside it.
DEVELOPMENT = "development"
NONE = "none"


def takes(config: Config) -> bool:
  """Whether a run leaves a package: names of plain folders have no place in it.

  Args:
    config: the run's config.
  """
  return not config["normal"]


def total_parameters(
  system: system_lib.System,
  published: int,
  state: Callable[[], Any],
) -> int:
  """Parameters of all networks that score one machine.

  Args:
    system: the system.
    published: parameters of its frozen encoders, each counted once.
    state: reads the fitted state of one machine; called only where networks
      were trained on it.

  Returns:
    Their number, each seed's network counted; zero without networks.
  """
  if not system_lib.draws(system):
    return published
  fitted = state()["branches"].values()
  trained = [b["encoder"].get("params", {}) for b in fitted]
  return published + sum(x.size for x in jax.tree.leaves(trained))


def _named(
  config: Config, stage: str, *, plain: Sequence[str] = ("none", "identity")
) -> str:
  """Names that the branches choose at a stage, "none" without any."""
  specs = (spec[stage] for spec in config["branches"].values())
  named = dict.fromkeys(s["name"] for s in specs)
  return ", ".join(n for n in named if n not in plain) or NONE


def _denoisers(config: Config) -> str:
  """Denoisers, which stand before a front end or in it."""
  found: dict[str, None] = {}
  for spec in config["branches"].values():
    for stage in (spec["denoise"], spec["frontend"]):
      inner = stage.get("denoiser")
      found |= dict.fromkeys([inner["name"]] if inner else [])
  waves = _named(config, "denoise", plain=("identity", "spectral"))
  return ", ".join([*found, *([waves] if waves != NONE else [])]) or NONE


def _methods(config: Config, system: system_lib.System) -> str:
  """Networks that are trained, backends and what wraps them."""
  trained = [
    config["branches"][name]["encoder"]["name"]
    for name, branch in system.branches.items()
    if branch.encoder.scope in ("machine", "run")
  ]
  wrappers = [
    w if isinstance(w, str) else w["name"]
    for spec in config["branches"].values()
    for w in spec["wrappers"]
  ]
  backends = _named(config, "backend").split(", ")
  return ", ".join(dict.fromkeys([*trained, *backends, *wrappers]))


def _augmentation(config: Config) -> str:
  """What adds to the training clips: more clips, or more rows."""
  found = [
    _named(config, "augment"), _named(config, "bank", plain=("plain",))
  ]  # fmt: skip
  return ", ".join(n for n in found if n != NONE) or NONE


def _decision(config: Config) -> str:
  """The rule behind the decisions, with its settings."""
  rule = decide.read_rule(config)
  if rule.name != "conformal":
    return f"{rule.name}, quantile {rule.quantile:g}"
  said = f"{rule.name}, false alarm rate {rule.false_alarm_rate:g}"
  # A threshold on the score knows no domains.
  return f"{said}, by domain" if rule.by_domain and not rule.by_score else said


def description(config: Config, system: system_lib.System) -> dict[str, Any]:
  """What the config of a system says of it, in the words of the meta file.

  Args:
    config: complete.
    system: built from it.

  Returns:
    Values by key of `submission_meta.DESCRIPTION`; keys that only the author
    can know are left out.
  """
  frozen = any(sources.has_weights(b.encoder) for b in system.branches.values())
  by_attribute = any(b.when != "always" for b in system.branches.values())
  return {
    "input_sampling_rate": f"{config['sample_rate'] / 1000:g}kHz",
    "data_augmentation": _augmentation(config),
    "front_end": _denoisers(config),
    "acoustic_features": _named(config, "frontend"),
    "embeddings": _named(config, "encoder") if frozen else NONE,
    "machine_learning_method": _methods(config, system),
    "aggregation_method": _named(config, "pooling"),
    "ensemble_method_subsystem_count": sum(
      len(system.seeds[n]) for n in system.branches
    ),
    "decision_making": _decision(config),
    "attribute_usage": "choose branches" if by_attribute else NONE,
    "external_data_usage": "pre-trained models" if frozen else NONE,
  }


def external_datasets(system: system_lib.System) -> list[dict[str, Any]]:
  """The published networks that a system uses.

  Args:
    system: the system.

  Returns:
    Name and address of each, None where the address is not known.
  """
  found = {}
  for branch in system.branches.values():
    about = branch.encoder.about
    if not sources.has_weights(branch.encoder):
      continue
    known: family.Family = about.family
    hubs = [
      s.hub
      for s in known.sources
      if s.hub and known.sizes[s.size].items() <= about.settings.items()
    ]
    url = f"https://huggingface.co/{hubs[0]}" if hubs else None
    found[known.title] = {"name": known.title, "url": url}
  return list(found.values())


def write(
  out: Path,
  config: Config,
  system: system_lib.System,
  tables: Tables,
  results: Mapping[str, Any],
  *,
  development: Collection[str],
) -> None:
  """Writes the package and checks it as the challenge would.

  Args:
    out: folder of the package, which is `task2` in it.
    config: the run's config.
    system: built from it.
    tables: by machine and section, rows of clip name, score and decision.
    results: content of results.json.
    development: machines of the development set. Where there are others, the
      package is theirs, and the files of these stand in `development`.

  Raises:
    InputError: a file cannot be written.
  """
  apart = set(development) if set(tables) - set(development) else set()
  label = config["submission"]["label"]
  for name in sorted(apart & tables.keys()):
    submission_write.write_machine(out / DEVELOPMENT, label, name, tables[name])
  taken = {name: t for name, t in tables.items() if name not in apart}
  known = {
    name: {k: results["machines"][name][k] for k in official.RANKED}
    for name in development
    if results["machines"][name]["score"] is not None
  }
  meta = submission_meta.build(
    label,
    name=config["system"],
    abbreviation=config["submission"]["abbreviation"],
    description=description(config, system),
    total_parameters=results["total_parameters"],
    external_datasets=external_datasets(system),
    development=known,
  )
  submission_write.write(out, label, taken, meta)
  expected = {
    name: {s: {r[0] for r in rows} for s, rows in sections.items()}
    for name, sections in taken.items()
  }
  # Our own files are checked as the challenge would, before anyone sends them.
  if problems := submission.check(out, expected=expected):
    raise errors.InputError(f"{out}: {'; '.join(problems)}")
