"""Networks: from front-end output of a clip to tokens, all channels at once.

`family` holds the two records, `Encoder` for the engine and `Family` for
published networks; each family is a file of its own and a line of `zoo`.
`load` finds and keeps weights, `convert` reads official files.
"""
