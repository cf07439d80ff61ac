"""A tiny job: it shares every mechanism with large ones, and takes a second."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax.training import job as job_lib
from asd_jax.training import mesh
from asd_jax.training import state as train_state

NUM, WIDTH, CLASSES = 40, 64, 3


def data(num=NUM):
  rng = np.random.default_rng(0)
  label = rng.integers(0, CLASSES, num)
  x = rng.normal(size=(num, WIDTH)) + 2 * np.eye(CLASSES, WIDTH)[label]
  return x.astype(np.float32), label.astype(np.int32)


def job(
  *, num_steps=20, learning_rate=1e-2, every=0, batch_size=16, **more
) -> job_lib.Job:
  """A layer before it that is frozen, dropout, labels that may be missing."""
  x, label = data()
  label[::5] = -1
  order = job_lib.Order(NUM, batch_size=batch_size, num_epochs=50, seed=1)

  def hear(x):
    """A front end: no row looks at another."""
    return jnp.fft.irfft(jnp.fft.rfft(x) * 0.9)

  def scores(params, frozen, x):
    x = mesh.by_rows(jax.vmap(hear))(x)
    h = jax.nn.gelu(x @ frozen["w"] @ params["w"])
    return h @ params["head"] + params["bias"][None]

  def loss(params, frozen, x, label):
    logits = scores(params, frozen, x)
    each = optax.softmax_cross_entropy_with_integer_labels(
      logits, jnp.maximum(label, 0)
    )
    has = label >= 0
    return jnp.sum(each * has) / jnp.maximum(jnp.sum(has), 1)

  def loss_fn(params, extra, key, batch, frozen):
    keep = jax.random.bernoulli(key, 0.9, batch["x"].shape)
    value = loss(params, frozen, batch["x"] * keep, batch["label"])
    return value, ({"seen": extra["seen"] + 1}, {})

  make, step = train_state.make_train(
    loss_fn, optax.adamw(learning_rate), watched=True, **more
  )

  def init(key, start):
    keys = jax.random.split(key, 3)
    params = {
      "w": 0.1 * jax.random.normal(keys[0], (WIDTH, WIDTH)),
      "head": 0.1 * jax.random.normal(keys[1], (WIDTH, CLASSES)),
      "bias": jnp.zeros(CLASSES),
    }
    state = make(keys[2], params, {"seen": jnp.zeros(())})
    return state, {"w": start["w"]}

  def rows_at(index):
    return {"x": x[index], "label": label[index]}

  check = job_lib.Validation(
    loss=lambda state, frozen, batch: loss(
      state.params, frozen, batch["x"], batch["label"]
    ),
    batch_at=lambda i, rows: rows_at(np.arange(8 * i, 8 * i + 8)[rows]),
    num_batches=2,
    batch_size=8,
    every=every,
  )
  return job_lib.Job(
    name="toy",
    init=init,
    step=lambda state, frozen, batch: step(state, batch, frozen),
    batch_at=lambda i, rows: rows_at(order.at(i)[rows]),
    batch_size=batch_size,
    num_steps=num_steps,
    start={"w": np.eye(WIDTH, dtype=np.float32)},
    validation=check if every else None,
    names=lambda i: [f"clip_{n}.wav" for n in order.at(i)],
  )
