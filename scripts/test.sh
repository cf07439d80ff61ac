#!/usr/bin/env bash
# Runs the whole test suite in .venv (made on first use), a process a core.
# Arguments go to pytest. Files keep their order: long ones first (conftest.py).
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec .venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder "$@"
