#!/usr/bin/env bash
# Installs the MCP clients, servers and conformance suites that tests/mcp starts, pinned, into target/mcp-tools:
#   node/       Node.js 22, both conformance suites, the TypeScript SDKs, servers and the inspector (tests/mcp/tools/node)
#   python-1/   the 1.x line of the Python SDK with what is built on it: openai-agents, langchain-mcp-adapters
#   python-2/   the 2.x line with what is built on it: fastmcp, a stdio server, and pytest for the tests themselves
#   rmcp/       a client on the Rust SDK, built from tests/mcp/clients/rmcp by its own lock file
# What is there already, from the same pins, is left alone. System packages that are missing (npm, Python's venv) are
# installed on Debian or Ubuntu, as root or with sudo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pins=tests/mcp/tools
tools=target/mcp-tools
mkdir -p "$tools"

# Two runs at once would write into the same folders.
exec 9>"$tools/.lock"
if ! flock --wait 900 9; then
    echo "another installation has held $tools/.lock for 15 minutes; end it, then run this again" >&2
    exit 1
fi

packages=()
type -P npm >/dev/null || packages+=(npm)
type -P python3 >/dev/null || packages+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if [ "${#packages[@]}" -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "missing: ${packages[*]}. Install them with this system's package manager, then run this again." >&2
        exit 1
    fi
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
    echo "installing ${packages[*]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

# current FOLDER PINS... : is FOLDER there, made whole from exactly these pins?
stamp_of() { cat "$@" | sha256sum | cut -d' ' -f1; }
current() {
    local folder=$1
    shift
    [ -f "$folder/.pins" ] && [ "$(cat "$folder/.pins")" = "$(stamp_of "$@")" ]
}

node_pins=("$pins/node/package.json" "$pins/node/package-lock.json")
if ! current "$tools/node" "${node_pins[@]}"; then
    echo "installing $tools/node"
    rm -rf "$tools/node"
    mkdir -p "$tools/node"
    cp "${node_pins[@]}" "$tools/node/"
    # No package's own script runs: Node.js 22 itself is a plain file in the package of this architecture. The packages
    # ask for that Node.js, not for the one that runs npm, hence no word about engines.
    npm ci --prefix "$tools/node" --ignore-scripts --no-audit --no-fund --loglevel=error
    case "$(uname -m)" in
        x86_64) arch=x64 ;;
        aarch64) arch=arm64 ;;
        *) echo "no Node.js 22 from npm for $(uname -m); the MCP tests run on x86_64 and aarch64" >&2; exit 1 ;;
    esac
    ln -s "node-linux-$arch/bin/node" "$tools/node/node_modules/node22"
    "$tools/node/node_modules/node22" --version >/dev/null
    # Node.js looks for packages beside the program that imports them: the TypeScript clients run through this link.
    ln -s ../../../tests/mcp/clients/ts "$tools/node/clients"
    stamp_of "${node_pins[@]}" >"$tools/node/.pins"
fi

for line in python-1 python-2; do
    if current "$tools/$line" "$pins/$line/requirements.txt"; then continue; fi
    echo "installing $tools/$line"
    rm -rf "${tools:?}/$line"
    python3 -m venv "$tools/$line"
    "$tools/$line/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$pins/$line/requirements.txt"
    "$tools/$line/bin/python" -m pip check >/dev/null
    stamp_of "$pins/$line/requirements.txt" >"$tools/$line/.pins"
done

CARGO_TARGET_DIR="$PWD/$tools/rmcp" cargo build --locked --quiet --manifest-path tests/mcp/clients/rmcp/Cargo.toml
