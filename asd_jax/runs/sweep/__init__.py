"""A system at hundreds of settings: the grid, the programs and the choice.

`axis` reads what is swept and `grid` spans it, `data` computes features once
for all settings that share them, `engine` and `fast` score every setting, `run`
ties them together.
"""
