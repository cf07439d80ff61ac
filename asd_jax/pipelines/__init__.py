"""Systems: stages named in a config, composed into functions."""
