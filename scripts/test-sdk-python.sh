#!/usr/bin/env bash
# The Python SDK and its examples: format, lints, types, tests at the real gateway. Arguments go to pytest.
# Everything it installs is in target/sdk-python; a gateway that is not built yet is built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD home=$PWD/target/sdk-python sdk=$PWD/sdk/python

./scripts/install-test-tools.sh

step() { printf '\n==> %s\n' "$*"; }

# Caches stay in the checkout.
export PIP_CACHE_DIR=$home/pip MYPY_CACHE_DIR=$home/mypy RUFF_CACHE_DIR=$home/ruff
export HYPOTHESIS_STORAGE_DIRECTORY=$home/hypothesis PIP_DISABLE_PIP_VERSION_CHECK=1

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "the tests of the Python SDK need Python 3.11 or newer; python3 is $(python3 --version)" >&2
    exit 1
fi
# The environment is made anew when its Python or a pin changes.
stamp=$({ python3 -c 'import sys; print(sys.executable, sys.version)'; cat "$sdk/requirements-test.txt"; } | sha256sum)
if [ "$(cat "$home/stamp" 2>/dev/null || true)" != "$stamp" ]; then
    step 'python3 -m venv, pip install'
    rm -rf "$home/venv" "$home/stamp"
    mkdir -p "$home"
    python3 -m venv "$home/venv"
    "$home/venv/bin/pip" install --quiet --requirement "$sdk/requirements-test.txt"
    printf '%s\n' "$stamp" >"$home/stamp"
fi
python=$home/venv/bin/python

if [ -z "${HOLDPOINT_BINARY:-}" ] && [ ! -x target/debug/holdpoint ]; then
    step 'cargo build'
    cargo build --locked
fi

cd "$sdk"
examples=("$root"/examples/python-*)
step 'ruff'
"$python" -m ruff format --quiet --check --config pyproject.toml . "${examples[@]}"
"$python" -m ruff check --quiet --config pyproject.toml .
# The examples are programs that print.
"$python" -m ruff check --quiet --config pyproject.toml --extend-ignore T20 "${examples[@]}"

step 'mypy --strict'
"$python" -m mypy src scripts tests "$root"/examples/python-*/*.py

step 'pytest'
# Two at a time: most of a test is waiting.
"$python" -m pytest -o cache_dir="$home/pytest" -n 2 --dist worksteal "$@"
