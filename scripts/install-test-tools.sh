#!/usr/bin/env bash
# Installs what the tests start besides the gateway itself; what is there already is left alone.
#   chromium, chromedriver   the reviewer's page in a real browser
#   promtool                 the form of /metrics
#   python3, node, go        upstreams that read requests with other parsers than ours
#   python3's venv           the Python SDK
#   npm, jq                  the TypeScript client, and the recipes for curl
#   kill                     signals to the gateway
#   strace, unshare, mount   disks that fail or are full under the gateway, and its end at every sync
#   faketime                 clocks that are set while it runs
#   slowhttptest             clients that are slow on purpose
#   curl, openssl            the commands of the examples
#   nginx, haproxy           reverse proxies that stand in front of the gateway
#   cc                       the embedded database and the cryptography
set -euo pipefail

# Where servers are, for users whose PATH leaves it out.
PATH="$PATH:/usr/sbin:/sbin"
packages=()
need() {
    local package=$1 command
    shift
    for command in "$@"; do
        # A program on the PATH: what the shell has built in does not count.
        if type -P "$command" >/dev/null; then return 0; fi
    done
    packages+=("$package")
}

need chromium chromium
need chromium-driver chromedriver
need prometheus promtool
need python3 python3
need nodejs node
need golang-go go
need npm npm
need jq jq
need procps kill
need strace strace
need util-linux unshare
need mount mount
need faketime faketime
need slowhttptest slowhttptest
need curl curl
need openssl openssl
need nginx nginx
need haproxy haproxy
need build-essential cc
# Debian ships what makes a virtual environment apart from Python, and without a command.
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then packages+=(python3-venv); fi

if [ "${#packages[@]}" -eq 0 ]; then exit 0; fi
if ! command -v apt-get >/dev/null; then
    echo "missing: ${packages[*]}. Install them with this system's package manager, then run this again." >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
echo "installing ${packages[*]}"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
# Servers that come along are not started: tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi
# Recommended packages would bring a desktop along.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${packages[@]}"
