"""Train states, the one loop, its checkpoints, and networks of one machine.

`state` makes the pure functions of a step, `loop` runs units of many steps and
`checkpoint` keeps them; `reconstruction` trains a network a seed, all seeds at
once, on the `windows` of a machine's frames. `lora` says what of an encoder is
trained, `optimiser` and `augment` how. Networks come in as functions and
are defined in `encoders`; nothing here reads recordings or knows a config.
"""
