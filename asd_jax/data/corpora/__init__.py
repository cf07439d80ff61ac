"""Public corpora of sound, as their authors' archives hold them."""
