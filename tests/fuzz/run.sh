#!/bin/sh
# Fuzzes each target by libFuzzer with stable Rust, where cargo-fuzz asks for a nightly one: run.sh SECONDS [TARGET...]
#
# RUNS=N instead ends each target after N executions. The last line for each target says how many
# there were. A finding ends with exit 1; it is kept in target/fuzz/findings: add it to the
# target's seeds, which the tests run, and fix the program.
# Any stable Rust and a C++ compiler will do: the flags are those of cargo-fuzz, without
# AddressSanitizer, since what is fuzzed has no unsafe code but that for messages. Texts stay until the process ends, so
# memory grows with the executions, and what is limited is a single allocation.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:?how many seconds for each target}
shift

# Named, so that build scripts do not get these flags.
host=$(rustc -vV | sed -n 's/^host: //p')
pass() { passes="${passes-} -Cllvm-args=-sanitizer-coverage-$1"; }
pass level=4
pass inline-8bit-counters
pass pc-table
pass trace-compares
RUSTFLAGS="-Cpasses=sancov-module $passes -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks" \
    cargo build --quiet --locked --release --target "$host" --manifest-path tests/fuzz/Cargo.toml \
    --target-dir target/fuzz

[ $# -gt 0 ] || set -- tests/fuzz/seeds/*/
mkdir -p target/fuzz/findings target/fuzz/logs
for target; do
    target=$(basename "$target")
    corpus=target/fuzz/corpus/$target
    mkdir -p "$corpus"
    log=target/fuzz/logs/$target
    if TARGET=$target "target/fuzz/$host/release/fuzz" ${RUNS:+-runs="$RUNS"} -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=0 -malloc_limit_mb=256 -max_len=256 -artifact_prefix="target/fuzz/findings/$target-" \
        "$corpus" "tests/fuzz/seeds/$target" 2> "$log"
    then
        echo "$target: $(grep '^Done' "$log"), no finding"
    else
        tail -n 30 "$log" >&2
        echo "$target: see $log and target/fuzz/findings" >&2
        exit 1
    fi
done
