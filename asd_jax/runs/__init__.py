"""What a command does: evaluate, score, watch, sweep, compare, select.

Each module is the work behind one script; `cli` is the entry point that they
share, and the only place that turns errors into exit statuses.
"""
