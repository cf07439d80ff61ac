#!/usr/bin/env bash
# Makes three synthetic machines, runs the systems that need no weights, and
# prints their scores and the path of the report. Arguments go to demo.py.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec .venv/bin/python scripts/demo.py "$@"
