# Sourced by demo.sh and test.sh: makes .venv once and keeps it current.
# Plain venv + pip, editable install; made again only when requirements.txt,
# pyproject.toml or the Python version change.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "setup: $("$python" --version 2>&1) found, Python 3.11 or newer expected (set PYTHON=...)." >&2
  exit 2
}
stamp="$(cat requirements.txt pyproject.toml <("$python" --version) | cksum)"
if [ ! -x .venv/bin/python ] || [ "$(cat .venv/stamp 2>/dev/null)" != "$stamp" ]; then
  echo "setup: installing into .venv (once, a few minutes) ..." >&2
  "$python" -m venv --clear .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
  echo "$stamp" > .venv/stamp
fi
