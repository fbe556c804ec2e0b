# The commands of this project. `just` lists them.

[private]
default:
    @just --list

# What continuous integration runs.
ci:
    ./.ci/run

# Format, lints, tests, documentation, licences.
test:
    ./scripts/test.sh

# Real MCP clients and servers against the gateway, and the conformance suites straight and through it.
mcp:
    ./scripts/test-mcp.sh
    ./scripts/test-mcp.sh --conformance

# Ten thousand callers that park and hang up, in waves of 2,500: some minutes.
leaving:
    cargo test --locked --test faults -- --ignored --nocapture leaving::

# A thousand reloads of good and bad policies under load: six minutes.
reloads:
    cargo test --locked --test it -- --ignored --nocapture a_thousand_good_and_bad_reloads

# A thousand random crashes, and one at every sync, answer and write to a socket of the scripted runs. Takes an hour.
chaos:
    cargo test --locked --test chaos -- --include-ignored --nocapture --test-threads 2 --skip every_write_to_the_store

# A crash at every write to the store of the scripted runs, beyond what syncs tell apart. Takes ten minutes and more.
chaos-writes:
    cargo test --locked --test chaos -- --ignored --nocapture --test-threads 2 every_write_to_the_store

# 10 000 seeds of the simulation, and deeper searches through the orders of the gate's steps. A failing seed says how to replay it.
simulate seeds='10000' orders='2000':
    HOLDPOINT_SIM_SEEDS={{seeds}} HOLDPOINT_SIM_FROM=0 cargo test --locked --release --test simulation -- --nocapture as_many_seeds
    HOLDPOINT_SIM_ORDERS={{orders}} cargo test --locked --release --test simulation -- --nocapture as_many_orders

# Format and lints alone.
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings

# Micro-benchmarks and the comparison with a bare proxy.
bench:
    cargo bench --locked

# A mixed load for half an hour, or as many minutes as are named: fails when memory or descriptors grow.
soak minutes='30':
    cargo bench --locked --bench soak -- --minutes {{minutes}}

# The gateway with a small built-in backend and a few parked calls.
demo:
    cargo run --locked --release -- demo

# Bans, licences, sources, and advisories where the advisory database can be reached.
deny:
    command -v cargo-deny >/dev/null || cargo install --locked cargo-deny@0.20.2
    cargo deny --locked check bans licenses sources
    cargo deny --locked check advisories

# The crate's documentation.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib

# Every fuzz target for so many seconds, from the corpora of the tests.
fuzz seconds="60":
    ./scripts/fuzz.sh {{ seconds }}
