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

# Format and lints alone.
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings

# Micro-benchmarks and the comparison with a bare proxy.
bench:
    cargo bench --locked

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
