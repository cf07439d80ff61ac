"""What the configs of pre-trainings share."""

import ml_collections


def settings(name, frontend, arg=""):
  """Settings of a pre-training [MERL26].

  Args:
    name: of the noise-aware encoder, which is that of the pre-training.
    frontend: what it hears.
    arg: `"smoke"` is a tiny network on a few seconds of sound, synthetic where
      no folders are named.
  """
  if arg not in ("", "smoke"):
    raise ValueError(f"config argument: found {arg!r}, expected 'smoke'.")
  c = ml_collections.ConfigDict()
  c.pretraining = name
  c.output_dir = ""
  c.weights_dir = "weights"  # where the frozen encoder's are sought
  c.random_weights = arg == "smoke"  # for plumbing only
  c.checkpoint = ""  # of the frozen encoder: file, folder or hub name
  c.precision = "float32"  # of matrix products; "bfloat16" is faster
  c.seeds = (0, 1, 2)
  c.encoder = dict(name=name, size="base")
  c.student = dict(
    dropout=0.1,  # of the attention of the layers
    gradient_decay=1.0,  # 0.6 in the public code of NA-BEATs
    remat=False,  # compute blocks again for gradients, for less memory
  )
  c.frontend = frontend
  # Corpora that were built below `data_dir` (the validation hears the noise of
  # WHAM! alone), or folders of wave files.
  c.target = "fsd50k"
  c.noises = ("wham48k", "demand", "qut_noise")
  c.data_dir = ""  # where data sets of tfds lie
  c.holdout = "0.1"  # of folders: share, or pattern of names, to validate with
  c.valid = dict(
    every=10,  # epochs between two looks
    num=0,  # mixtures; one a recording if 0
  )
  c.loader = dict(
    num_workers=0,  # processes that decode; 0: threads of this one
    num_threads=4,  # of each
    ahead=1,  # batches that each process has ready
  )
  c.seconds = 10.0  # of an example
  c.microphones = 2  # 1: no room; the second input is noise of another time
  c.rooms = dict(
    num=10_000,  # simulated at the start; 0: one for each example
    num_valid=1_000,
    seed=0,
    max_order=30,  # reflections
    ranges=dict(
      rt60=(0.1, 0.4), snr_db=(-10.0, 10.0), far=(0.1, 1.0), far_from="near"
    ),
  )
  c.optimiser = dict(
    learning_rate=1e-4,
    weight_decay=0.01,
    schedule="warmup_constant",
    warmup=0,
  )
  c.ema = 0.999
  c.ema_start = 20_000  # steps
  c.cls_weight = 1.0  # of the token of the clip beside all patches
  c.batch_size = 160
  c.accumulate = 1  # pieces of a batch, for less memory
  c.num_epochs = 200
  c.num_steps = 0  # instead of epochs
  c.synthetic = dict()
  if arg == "smoke":
    c.encoder.size = "smoke"
    c.seconds = 1.0
    c.rooms.update(num=8, num_valid=4, max_order=6)
    c.synthetic = dict(num_sounds=16, seconds=1.5)
    c.update(seeds=(0,), batch_size=4, num_steps=4, ema_start=2)
    c.valid.every = 1
    c.target, c.noises, c.holdout = "", (), "0.5"
    c.optimiser.learning_rate = 1e-3
  return c
