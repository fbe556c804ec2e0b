#!/usr/bin/env bash
# Everything that must hold before a change goes in: format, lints, tests (those of the clients, of the API's document and with
# real MCP clients and servers included), documentation, licences. Long runs have targets of their own: `just --list`.
# Installs the system packages that the tests need when they are missing (Debian or Ubuntu, as root or with sudo).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./scripts/install-test-tools.sh

step() { printf '\n==> %s\n' "$*"; }

results="$(mktemp)"
trap 'rm -f "$results"' EXIT

step 'cargo fmt --check'
cargo fmt --check

step 'cargo clippy'
cargo clippy --locked --all-targets -- -D warnings

step 'cargo test'
# Without --no-fail-fast the first red binary would hide what the others say.
status=0
cargo test --locked --no-fail-fast 2>&1 | tee "$results" || status=$?

# Each of these runs what cargo has built. All of them run, so that one red suite does not hide another.
suite() {
    step "$*"
    "$@" 2>&1 | tee -a "$results" || status=1
}
suite ./scripts/test-sdk-python.sh
suite ./scripts/test-sdk-typescript.sh
suite ./scripts/test-api-schema.sh
suite ./scripts/test-mcp.sh

if [ "$status" -eq 0 ]; then
    step 'cargo doc'
    RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --lib

    step 'cargo deny'
    if command -v cargo-deny >/dev/null; then
        cargo deny --locked check bans licenses sources
    else
        echo 'cargo-deny is not installed: skipped. `just deny` installs it and runs the check.'
    fi
fi

step 'results'
grep -E '^(test result:|test .* FAILED$|error: test failed|(FAILED|ERROR) |=+ .*(passed|failed).* =+$|. (tests|pass|fail) [0-9]+)' "$results" || true
exit "$status"
