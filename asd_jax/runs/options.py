"""What a config lets a user set, as `--help` lists it."""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# A line for each setting of a run; `configs/common.py` has the defaults.
RUN = {
  "system": "name of the system, in results and on pages",
  "data_dir": "challenge folders",
  "normal": "or a plain folder of normal clips to learn from ...",
  "test": "... and a plain folder of clips to score",
  "ground_truth": "labels of test clips: folder of the challenge, or csv",
  "machines": "machines to score, comma-separated; all if empty",
  "output_dir": "folder for everything that a run leaves",
  "training_dir": "trained networks; output_dir/training if empty",
  "recorder_channels": "of files: near and far, from 0; all (1 or 2) if empty",
  "sample_rate": "Hz; recordings of another rate are resampled to it",
  "batch_size": "clips computed at once",
  "checkpoints": "weights of each frozen encoder: file, folder or hub name",
  "weights_dir": "folder of weights that checkpoints does not name",
  "random_weights": "random weights in full size, for timing only",
  "precision": "of frozen encoders: float32, or bfloat16, which is faster",
  "cache": "of embeddings: on, off, readonly or clear",
  "seeds": "networks to train, one each; their scores are averaged",
  "members": "(branch, seed) pairs to take; all if empty",
  "selection": "or a file of scripts/select_members.py that names them",
  "chosen_on": "machines whose labels chose the members, of that file",
  "sweep": "what scripts/sweep.py sweeps if it is not told",
  "feature_selection": "file of scripts/select_features.py",
  "adapt.data_dirs": "more folders whose training clips encoders adapt to",
  "adapt.folds": "as threshold.folds: encoders adapted without each fold; or 0",
  "adapt.seeds_at_once": "train seeds in one program: auto, always or never",
  "adapt.memory_gb": "decoded clips that are held while encoders adapt",
  "fusion.name": "how branches and seeds become one score",
  "threshold.name": "by p-values: conformal; by the score: quantile, or gamma"
  " (of baseline_mse and baseline_mahala alone: fitted to training batches)",
  "threshold.false_alarm_rate": "share of normal clips called anomalous",
  "threshold.quantile": "of the other two rules",
  "threshold.folds": "models without a part of the clips each; 0: no p-values",
  "threshold.by_domain": "whether the rate holds for either domain",
  "threshold.decide_in_sample": "without folds: by scores of clips seen",
  "window_seconds": "of recordings that are cut; 0: as long as training clips",
  "hop_seconds": "from one window to the next; 0: windows do not overlap",
  "alarm_after": "consecutive anomalous windows that flag a recording",
  "submission.label": "of the challenge package",
  "submission.abbreviation": "of the system, in the package",
  "synthetic": "synthetic data to make where no other is named",
}
# The same of a pre-training.
PRETRAINING = {
  "pretraining": "name of the pre-training, in messages and folders",
  "checkpoint": "weights of the frozen encoder: file, folder or hub name",
  "data_dir": "where data sets of tfds lie",
  "target": "recordings to be represented: a data set, or a folder of wavs",
  "noises": "the same of noises, each drawn from equally often",
  "holdout": "of folders: share, or pattern of names, to validate with",
  "output_dir": "folder for everything that a run leaves",
  "loader.num_workers": "processes that decode; 0: threads of this one",
  "loader.num_threads": "of each process",
  "loader.ahead": "batches that each process has ready",
  "valid.every": "epochs between two looks",
  "valid.num": "mixtures of the validation; one a recording if 0",
  "weights_dir": "where the encoder's weights are sought if none are named",
  "random_weights": "random weights in full size, for timing only",
  "precision": "of matrix products: float32, or bfloat16, which is faster",
  "seeds": "trainings, one each",
  "encoder.name": "the noise-aware encoder",
  "encoder.size": "of the network, see docs/encoders.md",
  "student.dropout": "of the attention of the layers",
  "student.gradient_decay": "factor of the gradient of each block",
  "student.remat": "compute blocks again for gradients, for less memory",
  "frontend": "what the encoder hears",
  "seconds": "of an example",
  "microphones": "2, or 1: no room, and noise of another time for far",
  "rooms.num": "simulated at the start; 0: one for each example",
  "rooms.num_valid": "the same of the validation",
  "rooms.seed": "of the rooms; those of the validation have the next",
  "rooms.max_order": "reflections at most",
  "rooms.ranges": "what rooms and ratios are drawn from",
  "ema": "decay of averages of the weights; 0 for none",
  "ema_start": "step that the averages begin at",
  "cls_weight": "of the token of the clip beside all patches",
  "batch_size": "examples a step",
  "accumulate": "pieces of a batch looked at one by one, for less memory",
  "num_epochs": "passes over the targets",
  "num_steps": "steps instead of passes",
  "synthetic": "synthetic sounds to make where no folders are named",
}
# Settings of a branch that are no stage of their own.
BRANCH = {
  "channels": "which of a clip's channels, 0 near and 1 far",
  "wrappers": "around the backend, from inside out",
  "reference": "training scores for calibration: loo or in_sample",
  "weight": "share of this branch in the fusion",
  "when": "machines it is for: always, attributes or no_attributes",
  "encoder.size": "of the network, see docs/encoders.md",
  "encoder.dtype": "float32 or bfloat16; --config.precision sets all",
  "encoder.layer": "whose tokens are taken",
  "encoder.adapt": "how it is adapted over machines, see docs/training.md",
  "encoder.checkpoint": "published weights: file, folder or hub name",
  "encoder.base": "of noise-aware layers: weights of the encoder inside",
}
# Of `encoder.adapt`.
OPTIMISER = {
  "learning_rate": "peak rate of the encoder, or of the pairs beside it",
  "head_learning_rate": "peak rate of the head and the criteria",
  "weight_decay": "of all that is trained, decoupled",
  "schedule": "warmup_cosine or warmup_constant",
  "warmup": "steps until the peak, or a share of all if below 1",
}
_UNLISTED = ("branches", "published")
_WIDTH = 78
_RECIPE = "encoder.recipe."
_ADAPT = "encoder.adapt."


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Settings by their dotted key.

  Args:
    settings: nested.

  Returns:
    Key to value; an empty group is a value.
  """
  out: dict[str, Any] = {}
  for key, value in settings.items():
    if isinstance(value, Mapping) and value:
      out |= {f"{key}.{inner}": v for inner, v in flat(value).items()}
    else:
      out[key] = value
  return out


def described(thing: Callable | type) -> dict[str, str]:
  """What a docstring says of each argument or attribute.

  Args:
    thing: with a Google docstring.

  Returns:
    Name to its description up to the first full stop or semicolon.
  """
  text = inspect.getdoc(thing) or ""
  found = re.findall(r"^  (\w+): (.*(?:\n {4,}.*)*)", text, re.MULTILINE)
  lines = {name: " ".join(words.split()) for name, words in found}
  return {
    n: re.split(r"[.;](?: |$)", w, maxsplit=1)[0] for n, w in lines.items()
  }


def _of_recipe(rest: str, adapt: Mapping[str, Any]) -> str:
  """What a setting of `encoder.adapt` is."""
  from asd_jax.encoders import heads
  from asd_jax.engine import recipe
  from asd_jax.training import domain, lora

  part, _, inner = rest.partition(".")
  if not inner:
    return described(recipe.Recipe).get(part, "")
  if part == "optimiser":
    return OPTIMISER.get(inner, "")
  if part == "mixstyle":
    return described(domain.mix_styles).get(inner, "")
  table = {"trains": lora.TRAINS, "head": heads.HEADS}[part]
  if inner == "name":
    return f"one of {', '.join(sorted(table))}"
  return described(table[adapt[part]["name"]]).get(inner, "")


def _of_stage(stage: str, rest: str, chosen: Mapping[str, Any]) -> str:
  """What a setting of a stage is, from the docstring of its function."""
  from asd_jax.engine import stages
  from asd_jax.training import reconstruction

  table = stages.TABLES[stage]
  if rest == "name":
    return f"one of {', '.join(sorted(table))}"
  if f"{stage}.{rest}".startswith(_RECIPE):
    return described(reconstruction.Recipe).get(rest.split(".")[1], "")
  if f"{stage}.{rest}".startswith(_ADAPT):
    return _of_recipe(rest.partition(".")[2], chosen["adapt"])
  *outer, last = rest.split(".")
  fn = table.get(chosen["name"])
  if outer and outer[0] in stages.NESTED:
    table = stages.NESTED[outer[0]]
    if last == "name":
      return f"one of {', '.join(sorted(table))}"
    fn = table.get(chosen[outer[0]]["name"])
  return described(fn).get(last, "") if fn else ""


def _about_branch(key: str, branch: Mapping[str, Any]) -> str:
  """What a setting of a branch is, in a line."""
  stage, _, rest = key.partition(".")
  if key in BRANCH or not rest:
    return BRANCH.get(key, "")
  return _of_stage(stage, rest, branch[stage])


def _lines(entries: Iterable[tuple[str, Any, str]]) -> list[str]:
  """Settings as absl lists flags: name and meaning, then the default."""
  out = []
  for key, value, about in entries:
    line = f"--config.{key}: {about}".rstrip(": ")
    out += textwrap.wrap(
      line, _WIDTH, initial_indent="  ", subsequent_indent="    ",
      break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    shown = f"(default: {value!r})"
    out += textwrap.wrap(
      shown, _WIDTH, initial_indent="    ", subsequent_indent="    ",
      break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
  return out


def _of_pretraining(config: Mapping[str, Any]) -> str:
  """The settings of a pre-training, in the order of the table."""

  def about(key: str) -> str:
    if key.startswith("optimiser."):
      return OPTIMISER.get(key.partition(".")[2], "")
    words = key.split(".")
    above = (".".join(words[:i]) for i in range(len(words), 0, -1))
    return next((PRETRAINING[k] for k in above if k in PRETRAINING), "")

  order = {text: place for place, text in enumerate(PRETRAINING.values())}
  own = flat(config)
  keys = sorted(own, key=lambda key: order.get(about(key), len(order)))
  lines = _lines((k, own[k], about(k)) for k in keys)
  return "\n".join(["settings of a pre-training:", *lines])


def help_text(config: Mapping[str, Any], *, named: bool) -> str:
  """Lists what `--config.KEY=VALUE` may set.

  Args:
    config: of a system or a pre-training, or what all systems have in common.
    named: whether it is a system's, whose branches are listed too.

  Returns:
    Lines.
  """
  if "pretraining" in config:
    return _of_pretraining(config)
  # What is published is a fact, and no setting.
  run = flat({k: v for k, v in config.items() if k not in _UNLISTED})
  # What people set most comes first, as in the table.
  order = {key: place for place, key in enumerate(RUN)}
  group = lambda key: key if key in RUN else key.partition(".")[0]
  keys = sorted(run, key=lambda key: order.get(group(key), len(order)))
  lines = ["settings of a run:"]
  lines += _lines((k, run[k], RUN.get(group(k), "")) for k in keys)
  if not named:
    return "\n".join(
      [*lines, "", "With --config=FILE, --help lists that system's stages too."]
    )
  for name, branch in config["branches"].items():
    lines += ["", f"stages of branch {name}:"]
    lines += _lines(
      (f"branches.{name}.{key}", value, _about_branch(key, branch))
      for key, value in flat(branch).items()
    )
  return "\n".join(lines)
