"""File names, clips, audio and data sets."""
