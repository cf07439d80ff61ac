"""Clips and what is known about them: read, made, and written for others.

`clips` reads the machines below a folder: `folders` knows the places, `names`
the file names, `truth` the tables beside them (their rows: `truth_table`),
`audio` the samples (of whole files: `riff`), `decode` batches of them.
`synthetic` makes data sets (`synthetic_clips`: which clips) of the sounds in
`machine_sound`. For others there are challenge packages (`submission`,
`submission_meta`, `submission_write`), csv files of scores (`score_table`) and
tensorflow-datasets (`tfds_dcase`, imported by its users alone).

To pre-train with there are the corpora of others (`corpora` reads them,
`tfds_sources` writes them as data sets, with `tfds_base`), recordings to draw
from (`pools`), which target and noises an example has (`sources`) and batches
of them (`batches`). Nothing here makes features or scores.
"""
