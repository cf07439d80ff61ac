"""An encoder with a learned head, trained on from published weights.

Its parameters have a leading axis of seeds: each seed has a whole network.
"""

import json
from typing import Any

import flax.traverse_util
import jax

from asd_jax.encoders import family, heads
from asd_jax.encoders.heads import Head
from asd_jax.encoders.tokens import Layers, Tokens
from asd_jax.typing import Array, Key

Tree = Any
# The layer of what the head makes of a clip: one token of one channel.
EMBEDDING = "embedding"
# The layer of one number a clip: the mean share of near in a blend of channels.
SHARE = "share"


def near_alone(encoder: family.Encoder) -> family.Encoder:
  """The encoder as it is trained on: one that returns near alone.

  Args:
    encoder: that takes near and far together, and returns both streams; any
      other stays as it is.

  Returns:
    It, without the far stream, which is heard but has nothing to tell a head.

  Source: [MERL26] Sec. 3.1.
  """
  if not encoder.about.family.input.joint:
    return encoder

  def apply(params: Tree, x: Array, layers: Layers) -> dict[str, Tokens]:
    found = encoder.apply(params, x, layers)
    return {n: jax.tree.map(lambda t: t[:1], t) for n, t in found.items()}

  return encoder._replace(apply=apply)


def make(
  base: family.Encoder,
  head: Head,
  *,
  layer: str,
  num_seeds: int,
  about: Any,
) -> family.Encoder:
  """Puts an encoder and a head together.

  Args:
    base: the encoder, of scope "file".
    head: takes the patch tokens of a clip, all its channels at once.
    layer: of the encoder, whose tokens the head takes.
    num_seeds: K.
    about: plain data that names the head, for files of parameters.

  Returns:
    Encoder of scope "run". Parameters are `{"encoder": those of `base`,
    "head": {"params": ..., "stats": ...}}`, leading axis K; layers are those of
    `base`, and `EMBEDDING`: a grid `[1, 1, 1, E]`; of a head that blends
    channels `SHARE` too, `[1, 1, 1, 1]`.
  """
  own = (EMBEDDING, SHARE) if head.share else (EMBEDDING,)

  def embedding(params: Tree, rows: Array) -> Tokens:
    # A file holds no empty mapping.
    stats = params["head"].get("stats", {})
    z, _ = head.apply(params["head"]["params"], stats, rows, False)  # [1, E]
    return Tokens(head.embed(z)[None, None])

  def apply(params: Tree, x: Array, layers: Layers) -> dict[str, Tokens]:
    wanted = [n for n in layers if n not in own]
    asked = tuple(dict.fromkeys([*wanted, layer]))
    found = base.apply(params["encoder"], x, asked)
    out = {n: found[n] for n in wanted}
    rows = heads.rows_of(head, found[layer].grid)[None]
    if EMBEDDING in layers:
      out[EMBEDDING] = embedding(params, rows)
    if SHARE in layers:
      assert head.share is not None
      share = head.share(params["head"]["params"], rows)
      out[SHARE] = Tokens(share[:, None, None, None])
    return {n: out[n] for n in layers}

  def one(key: Key) -> Tree:
    body, top = jax.random.split(key)
    params, stats = head.init(top, base.about.width)
    learned = {"params": params, "stats": stats}
    return {"encoder": base.init(body), "head": learned}

  def init(key: Key) -> Tree:
    return jax.vmap(one)(jax.random.split(key, num_seeds))

  def shapes() -> dict[str, tuple[int, ...]]:
    of_width = lambda key: head.init(key, base.about.width)
    tree = jax.eval_shape(of_width, jax.random.key(0))
    learned = dict(zip(("params", "stats"), tree, strict=True))
    flat: Tree = flax.traverse_util.flatten_dict({"head": learned}, sep="/")
    top = {path: tuple(x.shape) for path, x in flat.items()}
    body = {f"encoder/{p}": s for p, s in base.about.shapes().items()}
    return {path: (num_seeds, *s) for path, s in {**body, **top}.items()}

  facts = {"seeds": num_seeds, "head": about, "head_layer": layer}
  # As a file has them: no tuples.
  facts = json.loads(json.dumps(facts, sort_keys=True))
  known = base.about._replace(
    settings={**base.about.settings, "adapted": facts},
    layers=(*base.about.layers, *own),
    shapes=shapes,
  )
  return family.Encoder(init, apply, "run", known)
