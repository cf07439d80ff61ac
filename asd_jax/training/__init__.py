"""Losses, train state, the loop and its checkpoints."""
