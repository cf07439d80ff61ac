"""From a waveform to the input of an encoder.

`base` has the records that all of them share. `log_mel`, `kaldi` and `htk_mel`
are spectrograms as published encoders take them, and `dif` is one vector of
features a clip; `denoise` makes one channel of two, and `augment` further clips
of training clips. The formulas are in `ops`; whatever is learned by gradient is
in `encoders`.
"""
