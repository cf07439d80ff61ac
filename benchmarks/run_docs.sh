#!/usr/bin/env bash
# Runs every command that the pages mark with `<!-- run -->`, as it stands
# there. `--smoke` shrinks the systems to seconds; names of pages restrict.
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/setup.sh"
exec .venv/bin/python benchmarks/run_docs.py "$@"
