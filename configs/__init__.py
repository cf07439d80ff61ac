"""One file a system: what it is made of, as data."""
