"""Parameter files and folders, read without PyTorch; knows no network.

`read` opens official files of every container: `torch_file` (a zip, read by
`zip_entries`, or the older row of pickles, both through `restricted_pickle`)
and `safetensors_file`. All of them describe tensors as `stored_tensor` before
a number is loaded, through `byte_source`, which takes memory only for bytes
that are there. Nothing in a file is run, imported or trusted: anybody may
have made it.

`rules` moves arrays to their places, `folder` keeps converted ones, `hub`
finds official ones under their public names.
"""
