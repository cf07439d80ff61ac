"""Calibration, fusion and thresholds of anomaly scores."""
