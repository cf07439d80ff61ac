"""Array aliases and the letters that shape notes use.

B clips in a batch, N bank rows or training clips, Q queries, C channels
(0 near, 1 far), S samples, T frames or time patches, M mel bins, F frequency
bins or patches, L tokens, D width, K neighbours, seeds or classes.
"""

import jax

Array = jax.Array
Key = jax.Array
# A float setting that may be traced, so that a sweep can ride on `vmap`; a
# setting annotated `float` is structure.
Scalar = jax.Array | float
