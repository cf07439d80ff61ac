"""Short trainings by the originals, step by step (`finetune.npz`).

Everything is computed in float64, front end included: tensors whose true
gradient is zero wander in float32.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.encoders import family
from asd_jax.engine import adapt_step
from asd_jax.ops import crops
from asd_jax.training import dropout
from tests import quick
from tests.conftest import GOLDENS
from tests.engine import finetune_runs

pytestmark = pytest.mark.golden

FILE = GOLDENS / "finetune.npz"


with np.load(FILE) as file:
  RUNS = json.loads(str(file["config_json"]))["runs"]
jit = quick.jit


class Found:
  """What we make of a run: one program for its steps, one for its use."""

  def __init__(self, run):
    self.run = r = run
    # NumPy's from here on: each operation on one of JAX's is a program.
    params, extra, out, self.rates = jax.device_get(
      jit(r.train)(
        r.params,
        r.extra,
        r.frozen,
        jax.tree.map(lambda *x: np.stack(x), *r.batches),
      )
    )
    self.end = params, extra
    self.metrics, self.grads, self.path = out
    stored, stored_extra, _ = r.at("final")
    bands = jit(r.heard)(r.batches[0])
    used = jit(self._bands_in_use)(r.wave(r.config["eval_index"]))
    # One program for all: as many clips each time.
    num = max(len(bands), len(used))
    filled = lambda x: np.resize(x, (num, *x.shape[1:]))
    encode = jit(r.encoded)
    tokens = lambda p, x: np.asarray(
      encode(p["backbone"], r.frozen, filled(x))[: len(x)]
    )
    head = lambda p: {"head": p["head"]["head"]}
    first = tokens(r.params, bands)
    pooled, embedding = jit(r.embedded_first)(head(r.params), r.extra, first)
    self.first = {
      "frontend": np.asarray(bands),
      "tokens": first,
      "pooled": pooled,
      "embedding": embedding,
    }
    embed = jit(self._in_use)
    own, kept = tokens(params, used), tokens(stored, used)
    self.own = embed(head(params), extra, own)
    self.from_stored = embed(head(stored), stored_extra, kept)
    self.stored = stored, stored_extra

  def _bands_in_use(self, wave):
    """Clips, then near twice of each, or ten crops of some."""
    waves = [wave]
    if self.run.gated:
      waves.append(jnp.repeat(wave[:, :1], 2, axis=1))
    if self.run.has("eval/tta_crops"):
      count, low = (self.run.config["crop"][n] for n in ("count", "low"))
      few = len(self.run.array("eval/tta_crops"))
      cut = functools.partial(crops.cut_crops, num=count, shortest=low)
      waves.append(jnp.concatenate([cut(w) for w in wave[:few]]))
    return jax.vmap(self.run.plan.hear)(jnp.concatenate(waves))

  def _in_use(self, params, extra, h):
    """Tokens and embeddings by name in the file."""
    run, num = self.run, len(self.run.config["eval_index"])
    z = run.embedded(params, extra, h)
    out = {"embedding": z[:num], "tokens": h[:num, 0]}
    if run.gated:
      out["embedding_near_twice"] = z[num:]
    if run.has("eval/tta_crops"):
      shape = run.array("eval/tta_crops").shape
      each = out["tta_crops"] = z[num:].reshape(shape)
      joined = [crops.join_crops(e[:, None])[0] for e in each]
      out["tta_embedding"] = jnp.stack(joined)
    return out


@pytest.fixture(scope="module")
def found(golden):
  with pytest.MonkeyPatch.context() as patch, jax.enable_x64(True):
    patch.setitem(family.DTYPES, "float64", jnp.float64)
    z = golden("finetune")
    yield functools.cache(lambda n: Found(finetune_runs.Run(z, n)))


def close(found, want, limit, what):
  """Largest difference, absolute."""
  found, want = np.asarray(found), np.asarray(want)
  assert found.shape == want.shape, what
  gap = np.abs(found - want).max()
  assert gap <= limit, f"{what}: {gap:.2e} above {limit:.2e}"


def of_largest(found, want, limit, what):
  close(found, want, limit * np.abs(want).max(), what)


def entries(run, name):
  """Which entries of a tensor have a gradient that is not always zero."""
  shape = run.array(f"final/{name}").shape
  rows = run.config["zero_gradient"].get(name, ())
  yes = np.ones(shape, bool)
  if rows is None:
    yes[...] = False
  elif rows:
    yes[slice(*rows)] = False
  return yes


@pytest.mark.parametrize("name", RUNS)
def test_the_first_batch_up_to_the_embedding(found, name):
  case = found(name)
  run, first = case.run, case.first
  want = run.array("first/frontend")
  bands = first["frontend"].reshape(want.shape)
  close(bands, want, 1e-6, "frontend")
  want = run.array("first/tokens")
  # CLS is not what a head takes.
  tokens = first["tokens"] if run.gated else first["tokens"][:, 0]
  extra = want.shape[-2] - tokens.shape[-2]
  assert extra in (0, run.family.input.num_extra)
  close(tokens, want[..., extra:, :], 1e-8, "tokens")
  for what in ("pooled", "embedding"):
    close(first[what], run.array(f"first/{what}"), 1e-8, what)


@pytest.mark.parametrize("name", RUNS)
def test_losses_and_rates_of_every_step(found, name):
  case = found(name)
  run = case.run
  for what in ("loss", "loss_attr", "loss_dom"):
    if run.has(f"step/{what}"):
      want = run.array(f"step/{what}")
      of_largest(case.metrics[what], want, 1e-8, what)
  for i, group in enumerate(run.config["groups"]):
    ours = {"all": ("backbone", "head")}.get(group, (group,))
    for one in ours:
      of_largest(case.rates[one], run.array("step/lr")[:, i], 1e-12, one)


@pytest.mark.parametrize("name", RUNS)
def test_gradients_and_changes_of_every_step(found, name):
  case = found(name)
  run = case.run
  norm = lambda x: np.sqrt(np.sum(np.square(x).reshape(len(x), -1), axis=1))
  for i, tensor in enumerate(run.names):
    place, _ = run.place(tensor)
    if not entries(run, tensor).any():
      continue
    start = run.ours(tensor, run.array(f"param/{tensor}"))
    path = np.concatenate([start[None], case.path[place]])
    for what, steps in (
      ("grad", case.grads[place]),
      ("update", np.diff(path, axis=0)),
    ):
      want = run.array(f"step/{what}_norm")[:, i]
      ratio = np.abs(norm(np.asarray(steps)) - want) / np.maximum(
        want, 1e-3 * want.max()
      )
      assert ratio.max() <= 1e-8, f"{what} of {tensor}: {ratio}"
  for step in run.config["gradient_steps"]:
    for tensor in run.config["gradient_keys"]:
      want = run.array(f"grad/{step}/{tensor}")
      yes = run.ours(tensor, entries(run, tensor))
      if yes.any():
        grad = case.grads[run.place(tensor)[0]][step]
        want = run.ours(tensor, want)
        of_largest(grad[yes], want[yes], 1e-8, f"{tensor} at {step}")


@pytest.mark.parametrize("name", RUNS)
def test_weights_and_statistics_after_the_last_step(found, name):
  case = found(name)
  run = case.run
  params, extra = map(finetune_runs.flat, case.end)
  found_at = params | extra
  gaps = []
  for tensor in run.names:
    yes = run.ours(tensor, entries(run, tensor))
    want = run.ours(tensor, run.array(f"final/{tensor}"))
    gap = np.abs(np.asarray(found_at[run.place(tensor)[0]]) - want)
    gaps.append(gap[yes])
    if not yes.all():
      assert gap[~yes].max() <= 1e-6, tensor
  gaps = np.concatenate(gaps)
  assert np.sqrt(np.mean(np.square(gaps))) <= 1e-9
  assert gaps.max() <= 1e-8
  for tensor in run.config["buffers"]:
    want = run.array(f"final/{tensor}")
    ours = found_at[run.place(tensor)[0]]
    if tensor.endswith("var"):
      of_largest(ours, want, 1e-8, tensor)
    else:
      close(ours, want, 1e-6, tensor)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("name", RUNS)
def test_the_adapted_encoder_in_use(found, name, stored):
  case = found(name)
  run = case.run
  found_at = case.from_stored if stored else case.own
  # Behind batch norms, biases that wander show in the embedding.
  wanders = run.config["buffers"] and not stored
  named = [
    k.split("/")[2] for k in run.z.files if k.startswith(f"{name}/eval/")
  ]
  assert "embedding" in named
  for what in named:
    limit = 1e-6 if wanders and what != "tokens" else 1e-8
    of_largest(found_at[what], run.array(f"eval/{what}"), limit, what)


@jax.custom_batching.custom_vmap
def row_of(masks, x):
  """Of masks of all channels, that of the channel that `x` is."""
  del x
  return masks


@row_of.def_vmap
def _rows_of(size, batched, masks, x):
  del size, x
  assert batched == [False, True]
  return masks, True


@pytest.mark.parametrize("name", RUNS)
def test_dropout_of_adapter_inputs(found, name):
  case = found(name)
  run = case.run
  spec = run.config.get("dropout_case")
  if spec is None:
    pytest.skip(f"{name} has no such case")
  pairs = [n for n in run.names if n.startswith("lora/") and n.endswith(".a")]
  keep = run.array("dropout/keep")
  keep = keep.reshape(len(pairs), *keep.shape[2:])  # [pair, C, B, L, D]
  path_of = lambda n: run.place(n)[0].removeprefix("backbone/")[:-2]
  draws = {
    path_of(n): k.swapaxes(0, 1) for n, k in zip(pairs, keep, strict=True)
  }
  drop = lambda masks, path, x: dropout.kept(
    row_of(masks[path], jax.lax.stop_gradient(x)), x, rate=spec["rate"]
  )
  plan = run.plan._replace(trains=run.plan.trains._replace(drop=drop))
  params, extra = case.stored
  batch = run.batches[spec["step"]]

  def loss(backbone, draws, batch):
    rows = adapt_step.rows_of(plan, batch["labels"])
    h = adapt_step.tokens(plan, backbone, run.frozen, run.heard(batch), draws)
    head, terms = params["head"]["head"], params["head"]["terms"]
    z, _ = plan.head.apply(head, extra["head"], h, True)
    each = [
      term.criterion.apply(terms[i], {}, z, rows[i], None, 1.0)[0]
      for i, term in enumerate(plan.terms)
    ]
    return sum(each), z

  (found_loss, z), grads = jax.device_get(
    jit(jax.value_and_grad(loss, has_aux=True))(
      params["backbone"], draws, batch
    )
  )
  of_largest(found_loss, run.array("dropout/loss"), 1e-8, "loss")
  of_largest(z, run.array("dropout/embedding"), 1e-8, "embedding")
  grads = finetune_runs.flat({"backbone": grads})
  adapters = [n for n in run.names if n.startswith("lora/")]
  norms = [np.linalg.norm(grads[run.place(n)[0]]) for n in adapters]
  of_largest(norms, run.array("dropout/grad_norm"), 1e-8, "grad_norm")
  head = f"{name}/dropout/grad/"
  full = [k.removeprefix(head) for k in run.z.files if k.startswith(head)]
  assert full
  for tensor in full:
    want = run.ours(tensor, run.array(f"dropout/grad/{tensor}"))
    of_largest(grads[run.place(tensor)[0]], want, 1e-8, tensor)
