"""What becomes of anomaly scores: calibration, fusion, thresholds, drift.

All of it is fitted on scores of normal training clips alone and then applied
to one score at a time, so no decision can depend on the other test clips.
"""
