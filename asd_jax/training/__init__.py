"""Jobs, what carries them out, and what a step of them is made of.

What trains over machines or corpora is a `job`: `run` carries it out over all
devices and hosts of the `mesh`, fed by `feed`, saved by `checkpoint`, watched
by `meter` and `journal`, ended by `interrupt`, foretold by `plan`. `state`
makes the pure functions of a step, and `loop` runs units of many steps.
`criteria` is the table of losses (`margins`, `adacos`, `losses`), `domain` what
makes encoders blind to domains; `lora` adapts a parameter tree, `optimiser`
moves it, `augment` changes batches. `reconstruction` trains a network a seed,
all seeds at once, on the `windows` of a machine's frames. Networks come in as
functions and are defined in `encoders`; nothing here reads recordings or knows
a config.
"""
