#!/usr/bin/env bash
# The TypeScript client: types, lints, and tests against the real gateway; its examples and the curl recipes with it.
# Arguments are test files to run instead of all: scripts/test-sdk-typescript.sh ask.test.ts
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./scripts/install-test-tools.sh

step() { printf '\n==> %s\n' "$*"; }

# What npm downloads stays in the checkout, and nothing that a package brings along is run by installing it.
export npm_config_cache="$PWD/target/npm-cache" npm_config_ignore_scripts=true npm_config_audit=false npm_config_fund=false \
    npm_config_update_notifier=false

# `npm ci`, unless the folder is what this lock file made.
install() {
    local stamp=node_modules/.installed-from
    if ! cmp -s package-lock.json "$stamp"; then
        npm ci --no-progress
        cp package-lock.json "$stamp"
    fi
}

export HOLDPOINT_BINARY="${HOLDPOINT_BINARY:-$PWD/target/debug/holdpoint}"
if [ ! -x "$HOLDPOINT_BINARY" ]; then
    step 'cargo build'
    cargo build --locked
fi

cd sdk/typescript
step 'npm ci'
install
(cd test/binaries && install)

step 'biome'
biome=$(find test/binaries/node_modules/@biomejs -name biome -type f 2>/dev/null | head -1)
if [ -n "$biome" ]; then
    "$biome" check --error-on-warnings .
    "$biome" check --error-on-warnings --config-path=. ../../examples/typescript-*
else
    echo 'the linter has no package for this machine: skipped'
fi

step 'tsc'
npm run --silent build
npx tsc -p . --noEmit
rm -rf build
npx tsc -p test

step 'node --test'
if [ "$#" -gt 0 ]; then
    tests=("$@")
else
    tests=(test/*.test.ts)
fi
files=()
for name in "${tests[@]}"; do
    name="$(basename "$name" .ts)"
    files+=("build/test/$name.js")
done
# Two at a time: each of them starts gateways.
node --test --test-reporter=spec --test-concurrency=2 "${files[@]}"
