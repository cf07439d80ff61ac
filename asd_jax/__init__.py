"""Noise-aware anomalous sound detection in JAX."""
