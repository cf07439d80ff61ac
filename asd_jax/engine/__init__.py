"""What a config means: from its text to fitted, compiled systems on disk.

`stages` looks the names of a config up, `encode` and `detect` make the pure
functions of a branch, `system` joins branches, `programs` compiles them for
batches, `embed` and `gather` bring clips through, `session` opens all of it
once for a command. Nothing here knows of commands, pages or progress bars.
"""
