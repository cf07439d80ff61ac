"""AUC, pAUC, the official score and their tables."""
