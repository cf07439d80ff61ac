"""What all configs share: the run's settings and the stages' defaults."""

import ml_collections

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
  c.ground_truth = ""  # folder or csv with labels of an evaluation set
  c.machines = ""  # comma-separated; all if empty
  c.output_dir = ""
  c.training_dir = ""  # checkpoints; output_dir/training if empty
  c.sample_rate = 16_000
  c.batch_size = 16
  c.seeds = (13711,)
  c.fusion = dict(name="weighted_mean")
  c.threshold = dict(name="conformal", false_alarm_rate=0.1)
  c.submission = dict(label="AsdJax_Local_task2_1", abbreviation="asd_jax")
  c.published = dict(development=0.0, evaluation=0.0, source="")
  c.synthetic = SMOKE_DATA if arg == "smoke" else dict()
  return c


def branch(**stages):
  """A branch: the plain choice at every stage that is not given."""
  plain = dict(
    channels=(0,),
    frontend=dict(name="log_mel"),
    encoder=dict(name="identity"),
    pooling=dict(name="mean_time"),
    view=dict(name="near"),
    transform=dict(name="identity"),
    bank=dict(name="plain"),
    backend=dict(name="knn", k=1, metric="euclidean"),
    wrappers=(),
    calibration=dict(name="identity"),
    reference="loo",
    weight=1.0,
  )
  return {**plain, **stages}


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
