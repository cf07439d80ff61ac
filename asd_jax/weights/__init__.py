"""Parameter files and folders, read without PyTorch; knows no network.

`read` opens official files of every container and runs nothing in them, `rules`
moves arrays to their places, `folder` keeps converted ones, `hub` finds them
under their public names.
"""
