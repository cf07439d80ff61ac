#!/usr/bin/env bash
# All device rows of the benchmarks and the golden tests in one call:
#   bash benchmarks/on_device.sh OUT [--small] [--minutes=9]
# OUT/figures.json has what was found, part by part, also where time runs out.
# Needs Python 3.12 with jax, flax, optax, orbax and PyTorch. What else is
# missing is installed from wheels in .wheels (made, where there is a network,
# by `pip download -d .wheels --no-deps ml_collections soundfile`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:?"expected an output folder"}
mkdir -p "$out"
for name in ml_collections soundfile; do
  python3 -c "import $name" 2>/dev/null && continue
  python3 -m pip install --quiet --no-index --no-deps --find-links .wheels \
    "$name" || echo "no wheel of $name in .wheels"
done
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
exec python3 benchmarks/on_device.py --out="$out/figures.json" "${@:2}"
