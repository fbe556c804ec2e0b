#!/usr/bin/env bash
# The API against its own document: schemathesis with all checks, at the real gateway, as an admin and as an agent.
# Arguments go to `schemathesis run`. Everything it installs is in target/api-schema; a gateway that is not built yet is built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
home=$PWD/target/api-schema

./scripts/install-test-tools.sh

step() { printf '\n==> %s\n' "$*"; }

# Caches stay in the checkout.
export PIP_CACHE_DIR=$home/pip HYPOTHESIS_STORAGE_DIRECTORY=$home/hypothesis PIP_DISABLE_PIP_VERSION_CHECK=1

# The environment is made anew when its Python or a pin changes.
stamp=$({ python3 -c 'import sys; print(sys.executable, sys.version)'; cat tests/api/requirements.txt; } | sha256sum)
if [ "$(cat "$home/stamp" 2>/dev/null || true)" != "$stamp" ]; then
    step 'python3 -m venv, pip install'
    rm -rf "$home/venv" "$home/stamp"
    mkdir -p "$home"
    python3 -m venv "$home/venv"
    "$home/venv/bin/pip" install --quiet --requirement tests/api/requirements.txt
    printf '%s\n' "$stamp" >"$home/stamp"
fi

binary=${HOLDPOINT_BINARY:-target/debug/holdpoint}
if [ ! -x "$binary" ]; then
    step 'cargo build'
    cargo build --locked
fi

step 'schemathesis'
"$home/venv/bin/python" tests/api/run.py "$(realpath "$binary")" "$@"
