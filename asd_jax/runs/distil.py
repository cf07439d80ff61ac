"""What `train.py` does with a pre-training: distils noise-aware encoders."""

import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import soundfile

from asd_jax import errors, files
from asd_jax.data import audio
from asd_jax.engine import distil, distil_config
from asd_jax.report import mixture
from asd_jax.runs import options
from asd_jax.runs import progress as progress_lib
from asd_jax.training import mesh, plan, products
from asd_jax.training import run as run_lib
from asd_jax.training.job import Job
from asd_jax.training.meter import Seen
from asd_jax.typing import Key

Config = Mapping[str, Any]
_ABOUT = "pretraining.json"


def run(
  config: Config,
  settings: run_lib.Settings,
  *,
  dry_run: bool,
  progress: progress_lib.Progress,
) -> list[str]:
  """Trains the seeds of a pre-training that are missing.

  Args:
    config: complete, see `distil_config.prepared`.
    settings: of each training.
    dry_run: only tell what each will take.
    progress: where progress is shown.

  Returns:
    Lines for people.

  Raises:
    InputError: for bad input, or an output folder of another run.
    Stopped: after a signal; the state is saved.
  """
  out = _output(config, needed=not dry_run)
  opened = distil.Pretraining(config)
  said = list(opened.notes)
  for seed in config["seeds"]:
    label, key = opened.label(seed), jax.random.key(seed)
    if dry_run:
      with opened.job(seed) as job:
        found = plan.plan(job, key, sharded=settings.sharded)
      # Seeds take the same.
      return [*said, *plan.lines(label, found)]
    kept, place = out / "checkpoints" / label, out / "weights" / label
    if _claimed(kept, opened, seed) and place.exists():
      said.append(f"{label}: found in {place}, trained before")
      continue
    with opened.job(seed) as job:
      trained = run_lib.run(
        job,
        key,
        settings=settings,
        folder=kept,
        logs=out / "logs" / label,
        show=_shown(job, key, config["precision"], progress),
      )
    said += trained.notes
    said.append(_ended(opened, seed, trained, out))
    if not trained.complete:
      break
  return said


def _output(config: Config, *, needed: bool) -> Path:
  if needed and not config["output_dir"]:
    raise errors.InputError(
      "config: output_dir: found none, expected a folder for checkpoints and"
      " weights."
    )
  return Path(config["output_dir"])


def _shown(
  job: Job, key: Key, precision: str, progress: progress_lib.Progress
) -> Callable[[Seen], None]:
  """Shows steps, and what share of their time products alone would take."""
  each = products.of_step(job, key) / job.batch_size
  per_second = products.rate(precision) * jax.device_count()

  def show(seen: Seen) -> None:
    share = seen.clips_per_second * each / per_second
    if not math.isnan(share):
      seen = seen._replace(metrics={**seen.metrics, "product_share": share})
    progress.adaptation(job.name, seen)

  return show


def _claimed(folder: Path, opened: distil.Pretraining, seed: int) -> bool:
  """Whether a training was completed before; its folder is no other's.

  One that ended before its first save, as of a rate that was too high, binds
  nobody.

  Raises:
    InputError: if the folder is that of another run.
  """
  kept = {k: v for k, v in opened.config.items() if k not in distil.PLACES}
  about = {
    "digest": opened.digest(seed),
    "settings": json.loads(json.dumps(options.flat(kept), default=str)),
  }
  path = folder.with_suffix(f".{_ABOUT}")
  if path.exists():
    found = files.read_json(path)
    if found.get("digest") == about["digest"]:
      return bool(found.get("complete"))
    if found.get("complete") or run_lib.has_saved(folder):
      old, new = found.get("settings", {}), about["settings"]
      other = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
      what = ", ".join(other[:3]) or "weights or recordings"
      raise errors.InputError(
        f"{folder}: found another run, with other {what}; expected a new"
        " output_dir, or the same settings, weights and recordings, which go"
        " on."
      )
  if mesh.is_first():
    _write(path, about)
  return False


def _write(path: Path, about: Mapping[str, Any]) -> None:
  text = json.dumps(about, indent=2, sort_keys=True)
  files.atomic_write_text(path, text + "\n")


def _ended(
  opened: distil.Pretraining, seed: int, trained: run_lib.Trained, out: Path
) -> str:
  """Keeps what a training has come to, and tells it in a line."""
  label = opened.label(seed)
  if not trained.complete:
    return (
      f"{label}: saved at step {trained.step} of {opened.num_steps}, the same"
      " command goes on"
    )
  place = opened.keep(seed, trained, out / "weights")
  about = (out / "checkpoints" / label).with_suffix(f".{_ABOUT}")
  if mesh.is_first():
    _write(about, {**files.read_json(about), "complete": True})
  name = opened.networks.student.about.family.name
  return (
    f"{label}: trained, state of step {trained.step}, validation loss"
    f" {trained.criterion:.4g}; weights of {name} in {place}"
  )


def show(config: Config, number: int) -> list[str]:
  """Makes one example of the training again, for ears and eyes.

  Args:
    config: complete; the first of its seeds counts.
    number: of the example, counted from the first row of the first batch.

  Returns:
    Lines for people.

  Raises:
    InputError: for bad input, or an example that the training does not have.
  """
  out = _output(config, needed=True) / f"example_{number}"
  opened, seed = distil.Pretraining(config), config["seeds"][0]
  last = opened.num_steps * config["batch_size"] - 1
  if not 0 <= number <= last:
    raise errors.InputError(
      f"flags: --show_example: found {number}, expected 0 to {last}, the"
      f" examples of {config[distil_config.KIND]}."
    )
  example: Any = opened.examples(seed)[number]
  batch = {name: np.asarray(x)[None] for name, x in example.items()}
  waves, told = _simulated(opened, seed, batch)
  told.append(f"target {opened.targets_of(batch)[0]}")
  rate = audio.SAMPLE_RATE
  for name, wave in waves.items():
    data = io.BytesIO()
    # Levels are kept, and pass 1: no sample is clipped.
    soundfile.write(data, wave, rate, format="WAV", subtype="FLOAT")
    files.atomic_write_bytes(out / f"{name}.wav", data.getvalue())
  shown = {n: waves[n] for n in ("near", "far", "clean")}
  picture = mixture.picture(shown, rate, told)
  files.atomic_write_bytes(out / "example.png", picture)
  return [f"example {number}: in {out}", *told]


def _simulated(
  opened: distil.Pretraining, seed: int, batch: Any
) -> tuple[dict[str, np.ndarray], list[str]]:
  """Recordings and dry sounds of a batch of one, and what was drawn."""

  @jax.jit
  def simulate(batch: Any, cells: Any) -> tuple:
    rooms = lambda numbers: opened.rooms("train", numbers, cells)
    return opened.simulated("train", seed, batch, rooms)

  draws, sounds = simulate(batch, opened.cells)
  waves = {n: np.asarray(x)[0] for n, x in sounds._asdict().items()}
  dry = {"target": audio.to_float(batch["target"][0])}
  for i, wave in enumerate(batch["noise"][0]):
    dry[f"noise_{i + 1}"] = audio.to_float(wave)
  number, ratio = int(draws.room[0]), float(draws.snr_db[0])
  return {**waves, **dry}, [f"room {number}, {ratio:.1f} dB near"]
