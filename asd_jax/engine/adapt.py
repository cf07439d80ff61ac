"""Encoders trained on over the normal clips of all machines.

What comes out belongs to no machine: it is kept by all that decides it, and
every system that asks for the same finds it.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax import errors, files, store
from asd_jax.data import clips, decode, labels
from asd_jax.encoders import adapted, family, load
from asd_jax.engine import (
  adapt_data,
  adapt_features,
  adapt_plan,
  adapt_seeds,
  adapt_step,
  sources,
)
from asd_jax.engine import system as system_lib
from asd_jax.engine.branch import Adapt
from asd_jax.engine.train import seed_keys
from asd_jax.engine.waves import Waves
from asd_jax.training import mesh
from asd_jax.training import run as run_lib
from asd_jax.training.job import Job
from asd_jax.training.meter import Seen
from asd_jax.typing import Key

Tree = Any
# (label of the network, what is said in words or of a step)
Tell = Callable[[str, "str | Seen"], None]
# (job, key, folder of checkpoints, folder of logs) -> what it has come to
CarryOut = Callable[[Job, Key, Path, Path | None], run_lib.Trained | None]
# Raised when the meaning of a kept network changes.
_FORMAT = 1
# What makes an adapted network of clips.
_MAKERS = (
  *("data/audio.py", "data/labels.py", "data/names.py", "ops", "frontends"),
  *("encoders", "training", "engine/adapt_data.py", "engine/adapt_features.py"),
  *("engine/adapt_plan.py", "engine/adapt_step.py", "engine/recipe.py"),
  "engine/waves.py",
)
_GB = 1e9


def silent(label: str, said: str | Seen) -> None:
  """Tells nobody."""
  del label, said


class Network(NamedTuple):
  """One network to be adapted: of one source and seed.

  Attributes:
    source: the branch that stands for it, see `sources.of`.
    seed: of its draws.
    digest: of all that decides it.
    label: what messages call it.
    folder: of its checkpoints while it is trained; None for none.
    logs: folder of its logs; None for none.
  """

  source: str
  seed: int
  digest: str
  label: str
  folder: Path | None
  logs: Path | None


class Adapter:
  """Finds the adapted networks of a system, and makes those that are missing.

  Args:
    system: the system.
    config: its config, complete.
    published: weights that networks are adapted from, by source.
    train: normal clips of all machines.
    suffix: of the labels of networks, such as the fold that is left out.

  Attributes:
    published: as given.
    networks: all of them.
    notes: sentences on odd input, and on what had to be made again.
  """

  def __init__(
    self,
    system: system_lib.System,
    config: Mapping[str, Any],
    published: Mapping[str, load.Loaded],
    train: Sequence[clips.Clip],
    *,
    suffix: str = "",
  ) -> None:
    self._system, self._config, self._suffix = system, config, suffix
    self.published, self._train = dict(published), list(train)
    self.notes: list[str] = []
    self._folder = files.cache_folder("adapted")
    if self._folder is None and config["training_dir"]:
      self._folder = Path(config["training_dir"]) / "adapted"
    self._classes: dict[str, adapt_data.Classes] = {}
    self._waves: dict[str, Waves] = {}
    self._found: dict[str, load.Loaded] = {}
    self._about: dict[str, dict[str, Any]] = {}
    self._clips = [
      [c.machine, c.domain, c.attributes, decode.digest(c)] for c in self._train
    ]
    branches = system.branches
    own = [n for n in sources.encoders(branches) if branches[n].source.adapt]
    self.networks = [
      self._network(n, seed) for n in own for seed in branches[n].source.seeds
    ]

  @property
  def clips(self) -> Sequence[clips.Clip]:
    """The training clips."""
    return self._train

  def _adapt(self, source: str) -> Adapt:
    adapt = self._system.branches[source].source.adapt
    assert adapt is not None
    return adapt

  def _network(self, source: str, seed: int) -> Network:
    adapt, base = self._adapt(source), self.published[source]
    rate = self._config["sample_rate"]
    digest = store.digest(adapt.decides, base.digest, rate, seed, self._clips)
    # A checkpoint of older code would go on to another network.
    place = store.digest(digest, store.code_version(*_MAKERS))
    folder = self._folder and self._folder / f"{place}.training"
    label = f"{source}, seed {seed}{self._suffix}"
    logs = self._config["training_dir"] or None
    if logs is not None:
      logs = Path(logs) / label.replace(", ", "-").replace(" ", "_")
    return Network(source, seed, digest, label, folder, logs)

  @property
  def _index(self) -> store.Store | None:
    """Which weights a network has come to, by its digest."""
    if self._folder is None:
      return None
    code = store.code_version(*_MAKERS)
    return store.Store(self._folder, form=_FORMAT, code=code)

  def _single(self, source: str) -> family.Encoder:
    """The encoder of one seed."""
    adapt = self._adapt(source)
    return adapted.make(
      adapt.base,
      adapt.head,
      layer=adapt.recipe.layer,
      num_seeds=1,
      about=dict(adapt.recipe.head),
    )

  def find(self, network: Network) -> load.Loaded | None:
    """Reads a network that was kept; None if it is not there or damaged."""
    if network.digest in self._found:
      return self._found[network.digest]
    if self._index is None or self._folder is None:
      return None
    index = self._index
    kept = index.get(network.digest)
    self.notes += index.notes()
    if kept is None:
      return None
    place = self._folder / kept.facts["weights"]
    try:
      found = load.read_kept(
        self._folder, kept.facts["weights"], self._single(network.source)
      )
    except errors.InputError:
      self.notes.append(f"{place}: found damaged content, made again")
      return None
    self._about.setdefault(network.source, kept.facts["about"])
    found = found._replace(origin=self._origin(network.source))
    self._found[network.digest] = found
    return found

  def _origin(self, source: str) -> str:
    base = self.published[source]
    return f"{load.ADAPTED}{base.origin}"

  def _keep(
    self, some: Sequence[Network], trained: run_lib.Trained
  ) -> list[load.Loaded]:
    """Keeps what a training of some seeds came to, a folder a seed."""
    source = some[0].source
    # Steps only decide rates, which are not asked for.
    merged = self._parts(source, 10**9).merged
    if len(some) > 1:
      merged = jax.vmap(merged, in_axes=(0, None))
    params = mesh.on_host(jax.jit(merged)(trained.state, trained.frozen))
    if len(some) == 1:
      params = jax.tree.map(lambda x: np.asarray(x)[None], params)
    self.notes += trained.notes
    out = []
    for k, network in enumerate(some):
      own = jax.tree.map(lambda x, k=k: np.asarray(x[k : k + 1]), params)
      found = load.named(self._single(source), own, self._origin(source))
      index = self._index
      if self._folder is not None and index is not None and mesh.is_first():
        load.keep(self._folder, found)
        facts = {"weights": found.digest, "about": self.about(source)}
        index.put(network.digest, {}, facts)
      self._found[network.digest] = found
      out.append(found)
    return out

  def _where(self, source: str) -> str:
    return f"config: branch {source}: encoder.adapt"

  def classes(self, source: str) -> adapt_data.Classes:
    """Classes of the training clips, one set a criterion."""
    if source not in self._classes:
      adapt, base = self._adapt(source), self.published[source]
      features = adapt_features.make(
        self._config, source, adapt, base, self._train
      )
      found = adapt_data.classes_of(
        self._where(source), adapt.recipe, self._train, features
      )
      self._classes[source] = found
    return self._classes[source]

  def about(self, source: str) -> dict[str, Any]:
    """What results say about an adaptation, plain data."""
    if source not in self._about:
      found = self.classes(source)
      self._about[source] = {
        "trains": self._adapt(source).recipe.trains["name"],
        "num_clips": len(self._train),
        "machines": sorted({c.machine for c in self._train}),
        "classes": [labels.table(s, self._train) for s in found.sets],
        "notes": found.notes,
      }
    return self._about[source]

  def job(self, network: Network) -> Job:
    """The training of a network.

    Args:
      network: one of `networks`.

    Returns:
      The job; it starts from the published weights.

    Raises:
      InputError: for clips that the recipe cannot use.
    """
    source = network.source
    adapt, where = self._adapt(source), self._where(source)
    if source not in self._waves:
      rate = self._config["sample_rate"]
      branch = self._system.branches[source]
      self._waves[source] = Waves(
        self._train,
        channels=adapt.channels,
        num_samples=adapt_data.num_samples(
          where, branch, adapt.recipe, self._train, rate
        ),
        sample_rate=rate,
        most_bytes=self._config["adapt"]["memory_gb"] * _GB,
      )
    batches = adapt_data.Batches(
      where,
      adapt.recipe,
      self._waves[source],
      self.classes(source).id,
      self._train,
      network.seed,
    )
    parts = self._parts(source, batches.num_steps)
    return Job(
      name=network.label,
      init=parts.init,
      step=parts.step,
      batch_at=batches.at,
      batch_size=adapt.recipe.batch_size,
      num_steps=batches.num_steps,
      start=self.published[source].params,
      validation=batches.validation(parts.loss),
      names=batches.names,
      about=adapt_data.told(self.about(source)),
      notes=self.classes(source).notes,
    )

  def _parts(self, source: str, num_steps: int) -> adapt_step.Parts:
    branch = self._system.branches[source]
    num = self.classes(source).num
    return adapt_plan.make(self._where(source), branch, num, num_steps)

  def todo(self) -> list[list[Network]]:
    """Networks that are missing, those that are trained together by group."""
    groups: dict[Any, list[Network]] = {}
    for network in self.networks:
      if self.find(network) is None:
        groups.setdefault(network.source, []).append(network)
    out: list[list[Network]] = []
    for source, some in groups.items():
      mode = self._config["adapt"]["seeds_at_once"]
      size = self.published[source].size
      together = adapt_seeds.at_once(mode, size, len(some))
      out += [some] if together else [[n] for n in some]
    return out

  def train(
    self,
    some: Sequence[Network],
    *,
    tell: Tell = silent,
    carry_out: CarryOut | None = None,
  ) -> list[load.Loaded]:
    """Trains networks together, and keeps each.

    Args:
      some: of `todo`.
      tell: told of them, and of each step.
      carry_out: `(job, key, folder of checkpoints, folder of logs) ->
        Trained`, or None where it does not train; `run.run` if None.

    Returns:
      The networks; none while their training is not complete.

    Raises:
      InputError: for clips that the recipe cannot use.
    """
    first, jobs = some[0], [self.job(n) for n in some]
    job, key = jobs[0], jax.random.key(first.seed)
    folder, label = first.folder, first.label
    if len(some) > 1:
      label = f"{first.label} and {len(some) - 1} more"
      job = adapt_seeds.stacked(jobs, label)
      key = seed_keys([n.seed for n in some])
      names = store.digest([n.folder and n.folder.name for n in some])
      folder = folder and folder.with_name(f"{names}.training")
    steps = f"{job.num_steps} steps of {job.batch_size} clips"
    tell(label, f"adapting, {', '.join([*job.about.values(), steps])}")
    recipe = self._adapt(first.source).recipe
    epoch = -(-len(self._train) // recipe.batch_size)
    settings = run_lib.Settings(
      checkpoint_every=recipe.checkpoint_every * epoch
    )
    plain = lambda job, key, folder, logs: run_lib.run(
      job,
      key,
      settings=settings,
      folder=folder,
      logs=logs,
      show=lambda seen: tell(label, seen),
    )
    with contextlib.ExitStack() as stack:
      place = folder or Path(
        stack.enter_context(tempfile.TemporaryDirectory(prefix="asd_jax_"))
      )
      trained = (carry_out or plain)(job, key, place, first.logs)
      if trained is None or not trained.complete:
        return []
      found = self._keep(some, trained)
      # Only now: until it is kept, the checkpoint is all there is.
      if mesh.is_first():
        shutil.rmtree(place, ignore_errors=True)
    return found

  def get(self, tell: Tell = silent) -> dict[str, load.Loaded]:
    """All networks, read or trained.

    Args:
      tell: told of networks that are trained, and of each step.

    Returns:
      By source, seeds stacked in order.
    """
    for some in self.todo():
      self.train(some, tell=tell)
    out = {}
    for source in dict.fromkeys(n.source for n in self.networks):
      own = [n for n in self.networks if n.source == source]
      seeds = [self._found[n.digest].params for n in own]
      params = jax.tree.map(lambda *x: np.concatenate(x), *seeds)
      encoder = self._system.branches[source].encoder
      out[source] = load.named(encoder, params, self._origin(source))
    return out

  def release(self) -> None:
    """Lets go of weights and clips; what is kept on disk stays."""
    self._waves.clear()
    self._found.clear()
    none = lambda: {}
    self.published = {
      n: w._replace(read=none) for n, w in self.published.items()
    }
