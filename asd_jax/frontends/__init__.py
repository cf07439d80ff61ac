"""From a waveform to the input of an encoder."""
