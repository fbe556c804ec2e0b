#!/usr/bin/env bash
# Real MCP clients and servers against the real gateway.
#
#   scripts/test-mcp.sh                  installs what is missing, builds the gateway, runs the tests of tests/mcp
#   scripts/test-mcp.sh -k python-1      the same with arguments for pytest
#   scripts/test-mcp.sh --conformance    only: do the same conformance checks pass straight and through the gateway?
#
# What this gateway says itself that it does not have is skipped. HOLDPOINT_BIN names another binary; none is built
# then. HOLDPOINT_MCP_WORKERS says how many tests run at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./scripts/install-mcp-tools.sh
if [ -z "${HOLDPOINT_BIN:-}" ]; then cargo build --locked --quiet; fi

python=target/mcp-tools/python-2/bin/python
export PYTHONDONTWRITEBYTECODE=1
if [ "${1:-}" = --conformance ]; then
    shift
    exec "$python" tests/mcp/conformance.py --gateway "$@"
fi
# The tests mostly wait: for programs to start, for holds to end. Each worker has a fixture and a gateway of its own.
exec "$python" -m pytest -p no:cacheprovider -ra -n "${HOLDPOINT_MCP_WORKERS:-3}" --dist loadgroup tests/mcp "$@"
