"""What all configs share: the run's settings and the stages' defaults."""

import ml_collections
from ml_collections import config_dict

# Layers of an encoder of any depth; the embedding is that of a learned head.
ENDS = ("output", "embedding")
# A synthetic set of seconds, for `:smoke`.
SMOKE_DATA = dict(
  machines=("fan", "valve"),
  num_source=12,
  num_target=4,
  num_test=3,
  seconds=1.0,
)


def run(system, arg=""):
  """Settings of a run; `arg="smoke"` uses synthetic data made on the spot."""
  if arg not in ("", "smoke"):
    raise ValueError(f"config argument: found {arg!r}, expected 'smoke'.")
  c = ml_collections.ConfigDict()
  c.system = system
  c.data_dir = ""  # challenge folders
  c.normal = ""  # or two plain folders: normal clips ...
  c.test = ""  # ... and clips to score
  c.ground_truth = ""  # labels: csv, or folder of the challenge
  c.machines = ""  # comma-separated; all if empty
  c.output_dir = ""
  c.training_dir = ""  # checkpoints; output_dir/training if empty
  c.recorder_channels = ()  # of files: near and far; one or two if empty
  c.sample_rate = 16_000
  c.batch_size = 16
  c.checkpoints = dict()  # of frozen encoders: file, folder or hub name
  c.weights_dir = "weights"  # where they are where none is named
  c.random_weights = arg == "smoke"  # full size, for timing and plumbing only
  c.precision = "float32"  # of frozen encoders; "bfloat16" is faster
  c.cache = "on"  # of embeddings: on, off, readonly, clear
  c.seeds = (13711,)
  c.adapt = dict(  # of encoders that are adapted over machines
    data_dirs=(),  # more folders whose training clips they learn from
    folds=0,  # or those of threshold: adapted without each fold too
    seeds_at_once="auto",  # in one program: "auto", "always", "never"
    memory_gb=4.0,  # of decoded clips that are held
  )
  c.members = ()  # (branch, seed) pairs; all branches with all seeds if empty
  c.selection = ""  # or a file that names the members
  c.chosen_on = ()  # machines whose labels chose the members, of that file
  c.sweep = ()  # what scripts/sweep.py sweeps if it is not told
  c.feature_selection = ""  # file of `scripts/select_features.py`
  c.fusion = dict(name="weighted_mean")
  c.threshold = dict(
    name="conformal",  # by p-values; "quantile", "gamma": a limit on the score
    false_alarm_rate=0.1,  # stated rate of "conformal"
    quantile=0.9,  # of the other two
    folds=10,  # models fitted without a part of the training clips; 0: none
    by_domain=False,  # whether the rate holds for either domain
    decide_in_sample=False,  # without folds: from scores of clips seen
  )
  c.window_seconds = 0.0  # of long recordings; 0: as training clips
  c.hop_seconds = 0.0  # from one window to the next; 0: no overlap
  c.alarm_after = 3  # consecutive windows that make an alarm
  c.submission = dict(label="AsdJax_Local_task2_1", abbreviation="asd_jax")
  c.published = dict(development=0.0, evaluation=0.0, source="")
  c.synthetic = SMOKE_DATA if arg == "smoke" else dict()
  return c


def choice(arg, names):
  """Reads a config argument that names a row of a published table.

  Args:
    arg: such as `"ada_sub"`, `"smoke"` or `"ada_sub,smoke"`.
    names: of the rows; the first is taken where none is named.

  Returns:
    The row, and `"smoke"` or `""`.
  """
  parts = [p for p in arg.split(",") if p]
  rows = [p for p in parts if p != "smoke"] or [next(iter(names))]
  if len(rows) > 1 or rows[0] not in names:
    raise ValueError(
      f"config argument: found {arg!r}, expected one of {tuple(names)}, with"
      " ',smoke' to shrink it."
    )
  return rows[0], "smoke" if "smoke" in parts else ""


def branch(**stages):
  """A branch: the plain choice at every stage that is not given."""
  plain = dict(
    channels=(0,),
    denoise=dict(name="identity"),
    frontend=dict(name="log_mel"),
    augment=dict(name="none"),
    encoder=dict(name="identity"),
    tta=dict(name="none"),
    pooling=dict(name="mean_time"),
    view=dict(name="near"),
    key=dict(name="none"),
    transform=dict(name="identity"),
    bank=dict(name="plain"),
    backend=dict(name="knn", k=1, metric="euclidean"),
    wrappers=(),
    calibration=dict(name="identity"),
    reference="loo",
    weight=1.0,
    when="always",
  )
  return {**plain, **stages}


def add_encoder(c, name, *, size="base", arg=""):
  """Settings of an encoder with published weights, all its layers alike.

  Args:
    c: settings of a run; `checkpoints` gets an entry, which names the weights
      of every branch that uses them.
    name: of the encoder.
    size: of the encoder.
    arg: "smoke" takes the size of that name, a network of seconds.

  Returns:
    `layer -> encoder=dict(...)`.
  """
  # A key of a config has no dots.
  entry = f"{name}_{size}".replace(".", "_")
  c.checkpoints[entry] = ""
  checkpoint, precision = c.checkpoints.get_ref(entry), c.get_ref("precision")
  smoke = arg == "smoke"
  return lambda layer: dict(
    name=name,
    size="smoke" if smoke else size,
    # That network has two blocks: all but its ends become the first.
    layer="layer_1" if smoke and layer not in ENDS else layer,
    dtype=precision,
    checkpoint=checkpoint,
  )


# Encoder inside a noise-aware one, and the names of its published trainings.
NOISE_AWARE = dict(
  na_beats=("beats", "dcase2026_nabeats_seed{}.ckpt"),
  na_eat=("eat", "dcase2026_naeat_seed{}.ckpt"),
  na_dasheng=("dasheng", "dcase2026_nadasheng_seed{}.ckpt"),
)


def trainings(arg=""):
  """Published trainings of a noise-aware encoder; "smoke" takes one."""
  return (0,) if arg == "smoke" else (0, 1, 2)


def add_noise_aware(c, name, *, training, arg=""):
  """Settings of one of the published trainings of a noise-aware encoder.

  Args:
    c: settings of a run; `checkpoints` gets two entries, one for the layers of
      this training, whose file is sought by its name in the folder of weights,
      and one for the encoder inside.
    name: of the encoder, key of `NOISE_AWARE`.
    training: its number.
    arg: "smoke" takes networks of seconds.

  Returns:
    `layer -> encoder=dict(...)`.
  """
  inner, file = NOISE_AWARE[name]
  plain = add_encoder(c, inner, arg=arg)
  entry = f"{name}_seed{training}"
  c.checkpoints[entry] = file.format(training)
  layers = c.checkpoints.get_ref(entry)

  def encoder(layer):
    inside = plain(layer)
    return {
      **inside, "name": name, "checkpoint": layers, "base": inside["checkpoint"]
    }  # fmt: skip

  return encoder


# What recipes leave out: a key must be there to be set on the command line.
ADAPT = dict(
  augment=(),
  layer="output",
  channels=(),
  seconds=0.0,
  batch_size=32,
  num_epochs=20,
  num_steps=0,
  accumulate=1,
  remat=False,
  ema=0.0,
  ema_start=0,
  valid_fraction=0.0,
  checkpoint_every=1,
)


def adapted(encoder, recipe, arg=""):
  """An encoder that is trained on over all machines before it is used.

  Args:
    encoder: its settings.
    recipe: how it is trained (docs/training.md).
    arg: "smoke" takes two steps.

  Returns:
    Settings of the encoder.
  """
  if arg == "smoke":
    optimiser = {**recipe["optimiser"], "warmup": 0.5}
    small = dict(optimiser=optimiser, seconds=0.0, batch_size=8, num_steps=2)
    recipe = {**recipe, **small}
  rate = config_dict.placeholder(float)  # that of the encoder, if none is given
  optimiser = {"head_learning_rate": rate, **recipe["optimiser"]}
  return {**encoder, "adapt": {**ADAPT, **recipe, "optimiser": optimiser}}


def official_autoencoder(arg=""):
  """The official baseline's network and its training."""
  recipe = dict(
    batch_size=256,
    num_epochs=100,
    learning_rate=1e-3,
    valid_fraction=0.1,
    checkpoint_every=10,
  )
  if arg == "smoke":
    recipe |= dict(batch_size=32, num_epochs=1)
  return dict(name="autoencoder", num_context=5, recipe=recipe)


def katech(system, arg=""):
  """Settings of a run of [KATECH26]: ten seeds, their scores averaged."""
  c = run(system, arg)
  c.threshold.folds = 2  # networks, trained again for each
  c.seeds = (1, 2) if arg == "smoke" else tuple(range(1, 11))
  return c


def katech_branch(denoiser, arg="", *, backend=None):
  """A denoised log-mel autoencoder and its scores [KATECH26].

  Args:
    denoiser: name of the front end's denoiser; "" takes the near channel.
    arg: "smoke" shrinks it.
    backend: the scores; those by domain, of the submitted systems, if None.
  """
  recipe = dict(
    batch_size=256,
    num_epochs=100,
    learning_rate=1e-3,
    weight_decay=1e-4,
    valid_fraction=0.0,
    checkpoint_every=10,
  )
  hidden, blocks = 512, 4
  if arg == "smoke":
    recipe |= dict(batch_size=32, num_epochs=1)
    hidden, blocks = 32, 1
  frontend = dict(name="log_mel", num_mels=128)
  if denoiser:
    frontend |= dict(denoiser=dict(name=denoiser))
  by_domain = dict(
    name="domain_residual_mahalanobis",
    alpha=0.2,
    percentile=95.0,
    ridge=1e-3,
    shrinkage=0.5,
  )
  return branch(
    channels=(0, 1) if denoiser else (0,),
    frontend=frontend,
    encoder=dict(
      name="residual_autoencoder",
      num_context=5,
      num_hidden=hidden,
      num_bottleneck=16,
      num_blocks=blocks,
      recipe=recipe,
    ),
    pooling=dict(name="frames"),
    backend=backend or by_domain,
    calibration=dict(name="gamma"),
    reference="in_sample",
  )


# 10 s at 16 kHz: longer clips are cut, shorter ones filled with zeros.
LUDO_SAMPLES = 160_000
LUDO_FRONTENDS = dict(
  na_eat=dict(name="eat_fbank", num_samples=LUDO_SAMPLES, num_frames=1024),
  sslam=dict(name="eat_fbank", num_samples=LUDO_SAMPLES, num_frames=1024),
  beats=dict(name="beats_fbank", num_samples=LUDO_SAMPLES),
  dasheng=dict(name="dasheng_mel", num_samples=LUDO_SAMPLES),
  eat=dict(name="eat_fbank", num_samples=LUDO_SAMPLES, num_frames=1024),
  **dict.fromkeys(
    ("audiomae", "audiomae_finetuned"),
    dict(name="audiomae_fbank", num_samples=LUDO_SAMPLES),
  ),
  audiomaepp=dict(name="audiomaepp_mel", num_samples=LUDO_SAMPLES),
  m2d_clap=dict(name="m2d_mel", num_samples=LUDO_SAMPLES),
  ced=dict(name="dasheng_mel", num_samples=LUDO_SAMPLES),
  fisher=dict(name="fisher_spectrum", seconds=LUDO_SAMPLES / 16_000),
)


# Eight groups of tokens, or what an encoder has instead; else each band's mean.
LUDO_POOLINGS = dict(
  ced=dict(name="mean_parts_flat", num_parts=2), fisher=dict(name="cls")
)


def ludo(system, arg=""):
  """Settings of a run of [LUDO26]."""
  c = run(system, arg)
  c.batch_size = 4
  c.threshold.update(name="quantile", quantile=0.95)
  return c


def ludo_branch(family, encoder, *, alpha=0.5, prototypes=True):
  """Residual View of one layer, with mixed rows in the bank [LUDO26].

  Args:
    family: of the encoder, which tells the front end.
    encoder: its settings.
    alpha: far coefficient.
    prototypes: whether a second bank of 128 chosen rows has half the weight.
  """
  key, wrappers = dict(name="none"), ()
  if prototypes:
    key = dict(name="projection_residual")
    wrappers = (
      dict(name="prototypes", num=128, projection_dim=256, weight=0.5),
    )
  return branch(
    channels=(0, 1),
    frontend=LUDO_FRONTENDS[family],
    encoder=encoder,
    pooling=LUDO_POOLINGS.get(family, dict(name="mean_time_flat")),
    view=dict(name="residual", alpha=alpha),
    key=key,
    bank=dict(name="memmixup", lam=0.9),
    backend=dict(name="knn", k=1, metric="euclidean"),
    wrappers=wrappers,
  )


# EAT fills to whole patches of its decoder, as noise-aware layers learned it.
MERL_EAT = dict(name="eat_fbank", multiple=32)
MERL_FRONTENDS = dict(
  beats=dict(name="beats_fbank"),
  na_beats=dict(name="beats_fbank"),
  eat=MERL_EAT,
  na_eat=MERL_EAT,
  na_dasheng=dict(name="dasheng_mel"),
)
# Two ways to make up for few target clips.
MERL_SHIFTS = dict(
  rescaling=dict(
    backend=dict(name="variance_minimised", k=4, metric="half_cosine")
  ),
  smote=dict(
    bank=dict(name="smote", ratio=0.2, k=2),
    backend=dict(name="knn", k=1, metric="half_cosine"),
  ),
)


def merl_branch(
  family, encoder, *, pooling="mean_time", shift="rescaling", **stages
):
  """Tokens of near, pooled over time, and a bank a frequency [MERL26].

  Args:
    family: of the encoder, which tells the front end; noise-aware ones hear
      far too.
    encoder: its settings.
    pooling: over time.
    shift: key of `MERL_SHIFTS`.
    **stages: further settings of the branch.
  """
  plain = dict(
    channels=(0, 1) if family in NOISE_AWARE else (0,),
    frontend=MERL_FRONTENDS[family],
    encoder=encoder,
    pooling=dict(name=pooling),
    wrappers=("per_frequency",),
    **MERL_SHIFTS[shift],
  )
  return branch(**{**plain, **stages})


# Of LoRA alpha and dropout, the groups, the weight decay and the ten seconds
# that are heard are our choice.
MERL_RECIPE = dict(
  trains=dict(
    name="lora", rank=64, alpha=8.0, dropout=0.0, targets=("q", "k", "v")
  ),
  head=dict(name="context_projection"),
  criteria=(
    dict(
      name="subcluster_adacos",
      labels=dict(name="pseudo", num_clusters=16),
      num_centres=16,
    ),
  ),
  augment=(dict(name="mixup", probability=0.5),),
  optimiser=dict(
    learning_rate=1e-4,
    weight_decay=0.01,
    schedule="warmup_constant",
    warmup=5000,
  ),
  seconds=10.0,
  batch_size=8,
  num_epochs=25,
)


def add_merl_branches(
  c, family, *, trained=False, arg="", weight=1.0, **settings
):
  """Branches of a noise-aware encoder, one a published training [MERL26].

  Their scores as they are, averaged, are those of one encoder: the weight is
  that of all together.

  Args:
    c: settings of a run: `checkpoints` and `branches` get entries, and where
      networks are trained `members`, a seed for each.
    family: of the encoder.
    trained: whether each is trained on to tell conditions apart ("Dis").
    arg: "smoke" shrinks it.
    weight: in the mean over encoders.
    **settings: see `merl_branch`.
  """
  numbers = trainings(arg)
  for number in numbers:
    encoder = add_noise_aware(c, family, training=number, arg=arg)("output")
    name = f"{family}_{number}"
    if trained:
      name, encoder = f"dis_{name}", adapted(encoder, MERL_RECIPE, arg)
    c.branches[name] = merl_branch(
      family, encoder, weight=weight / len(numbers), **settings
    )
