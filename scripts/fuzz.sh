#!/usr/bin/env bash
# Runs every fuzz target for a bounded time, from the corpora of the tests and from what earlier runs found.
#
#   scripts/fuzz.sh [SECONDS] [TARGET...]     60 seconds each when nothing is said
#
# The targets are built with the project's own toolchain, in fuzz/target. Ends with a line for each target, and with an error when an
# input broke a property: it is then in fuzz/artifacts/TARGET.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo_fuzz=0.13.2
targets=(head json mcp policy sse target)

seconds=${1:-60}
case $seconds in
    '' | *[!0-9]* | 0) echo "usage: $0 [SECONDS] [TARGET...]; SECONDS is a whole number above zero" >&2; exit 2 ;;
esac
if [ "$#" -gt 1 ]; then targets=("${@:2}"); fi

if ! command -v cargo-fuzz >/dev/null; then
    cargo install --locked "cargo-fuzz@$cargo_fuzz" || exit 1
fi
# The gateway forbids unsafe code, so the targets look for wrong answers, not for wrong memory: no sanitizer, ten times the inputs.
build=(--sanitizer none)
cargo fuzz build "${build[@]}" || exit 1

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
status=0
summary=()
for target in "${targets[@]}"; do
    # One input may take ten seconds and two gigabytes; what takes more is a finding. Policy files may be long.
    longest=4096
    if [ "$target" = policy ]; then longest=16384; fi
    result=ok
    cargo fuzz run "${build[@]}" "$target" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len="$longest" \
        -dict="fuzz/dictionaries/$target.dict" -print_final_stats=1 2>&1 | tee "$logs/$target" | grep --line-buffered -vE '^#[0-9]+\s+(NEW|REDUCE|pulse)' || true
    if ! grep -q '^Done ' "$logs/$target"; then result=FAILED; status=1; fi
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$target" | tail -n 1)
    covered=$(grep -oE ' cov: [0-9]+' "$logs/$target" | tail -n 1)
    summary+=("$(printf '%-8s %-7s %s inputs,%s' "$target" "$result" "${executions:-no}" "${covered:- cov: ?}")")
done

printf '\n==> fuzzing, %s seconds each\n' "$seconds"
printf '%s\n' "${summary[@]}"
if [ "$status" -ne 0 ]; then
    cat <<'TEXT'

An input broke a property; the panic above says which one, and where the input is. To mend it for good:
  cargo fuzz tmin --sanitizer none TARGET fuzz/artifacts/TARGET/FILE     makes the input small
  mv SMALL tests/properties/regressions/TARGET/WHAT-WAS-WRONG            cargo test --test readers replays it from now on
TEXT
fi
exit "$status"
