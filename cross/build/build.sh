#!/bin/sh
# Builds limopack for one row of targets.tsv: build.sh TARGET|ARCH [test]
#
# With `test` it runs the tests instead, with debug assertions and checks for overflow, where this
# machine can run them: i386 on x86-64.
#
# The result, one static binary that is no PIE, is target/cross/TARGET/limopack. It must not be
# larger than the row's limit.
#
# The compiler is the first of these that is there:
#   1. a nightly of rustup with rust-src          std is built for size, without messages for
#   2. Debian's rustc-web with rust-web-src       panics, which cost more than the program
#   3. rustup's prebuilt std for the target       three times as large, so the limit only warns
# std's own crates come from crates.io, like the program's, once; afterwards CARGO_NET_OFFLINE=true
# works. A vendored tree needs them too: `cargo vendor --sync SOURCE/library/Cargo.toml`.
#
# OVERSIZE=warn lets a binary be larger than its limit.
# CARGO_PROFILE_RELEASE_STRIP=false keeps the symbols, in target/cross/TARGET/limopack.symbols.
set -eu
cd "$(dirname "$0")/../.."
. cross/build/lib.sh
row "${1-}"
what=${2-build}
out=target/cross/$target

# Whether a compiler has the source of std beside it and knows how to abort at once.
builds_std() {
    [ -f "$("$1" --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ] &&
        RUSTC_BOOTSTRAP=1 "$1" -Zunstable-options -Cpanic=immediate-abort --print cfg
} > /dev/null 2>&1

# Sets rustc, cargo and std (built or prebuilt).
choose_compiler() {
    std=built
    if command -v rustup > /dev/null; then
        # The default toolchain will do as well if someone gave it rust-src.
        for name in $(rustup toolchain list | sed -n 's/^\(nightly[^ ]*\).*/\1/p') ''; do
            rustc=$(rustup which ${name:+--toolchain "$name"} rustc 2> /dev/null) || continue
            builds_std "$rustc" || continue
            cargo=${rustc%rustc}cargo
            return
        done
    fi
    # By full path: rustup's come first in PATH.
    rustc=/usr/bin/rustc cargo=/usr/bin/cargo
    if [ -x $rustc ] && [ -x $cargo ] && builds_std $rustc; then return; fi

    std=prebuilt
    rustc=$(rustup which rustc 2> /dev/null || command -v rustc) || rustc=
    if [ -n "$rustc" ] && [ -d "$("$rustc" --print sysroot)/lib/rustlib/$target/lib" ]; then
        cargo=${rustc%rustc}cargo
        return
    fi
    die "no compiler for $target; one of these mends it:
    rustup toolchain install nightly --component rust-src
    apt-get install rustc-web cargo-web rust-web-src
    rustup target add $target"
}

# lld, because one links every target and packs segments without gaps: GNU ld makes a single
# segment, writable and executable, for 64-bit ARM. Sets lld.
choose_linker() {
    host=$("$rustc" -vV | sed -n 's/^host: //p')
    for compiler in "$rustc" "$(command -v rustc || :)"; do
        [ -n "$compiler" ] || continue
        lld=$("$compiler" --print sysroot)/lib/rustlib/$host/bin/rust-lld
        if [ -x "$lld" ]; then return; fi
    done
    for lld in "$(command -v ld.lld || :)" /usr/bin/ld.lld-*; do
        if [ -x "$lld" ]; then return; fi
    done
    die "no lld to link with: apt-get install lld"
}

choose_compiler
choose_linker
command -v cc > /dev/null || die "no cc for build scripts: apt-get install gcc libc6-dev"

# Flags are joined by the separator that lets them hold spaces.
encoded=
flag() {
    for word; do
        encoded=$encoded${encoded:+$(printf '\037')}$word
    done
}

flag -Clinker="$lld" -Clinker-flavor=ld.lld
flag -Ctarget-feature=+crt-static -Crelocation-model=static -Cforce-unwind-tables=no
# One segment for code and constants, one for data; no tables that nothing
# reads at run time; functions of the same bytes are one.
# shellcheck disable=SC2086 # the row's flags are words
flag $flags -Crelro-level=off -Clink-arg=-znoseparate-code -Clink-arg=--no-rosegment \
    -Clink-arg=--build-id=none -Clink-arg=--no-eh-frame-hdr -Clink-arg=--icf=all
# Nor headers of sections, which tools for symbols read and no kernel does.
[ "${CARGO_PROFILE_RELEASE_STRIP-}" = false ] || flag -Clink-arg=-znosectionheader
# The heap takes nothing back (src/system/heap.rs). Only without this step, which joins the ends of
# branches, does LLVM see that dropping a list then does nothing: a twentieth of the binary.
flag -Cllvm-args=--sink-common-insts=false
# Constants and loads are made where they are used, what a loop changes in memory is changed there,
# and instructions stay in the order in which they were selected: what LLVM moves ahead of a loop or a
# branch needs a register there, and is spilled. A fiftieth of the binary, for listings of at most one
# hundredth more instructions.
flag -Cllvm-args=--disable-machine-licm -Cllvm-args=--disable-constant-hoisting \
    -Cllvm-args=--disable-licm-promotion -Cllvm-args=--enable-load-pre=false \
    -Cllvm-args=--disable-post-ra
# The same bytes wherever the tree and cargo's cache are.
flag --remap-path-prefix="$PWD"=limopack --remap-path-prefix="${CARGO_HOME:-$HOME/.cargo}"=cargo

if [ $std = built ]; then
    export RUSTC_BOOTSTRAP=1
    musl=$(cross/build/musl.sh "$arch")
    # std asks for an unwinder even where nothing unwinds: an empty archive will do.
    mkdir -p target/cross/none
    printf '!<arch>\n' > target/cross/none/libunwind.a
    flag -Zunstable-options
    # lld is called without a compiler before it, so what that would add is added here. libc comes
    # again after the compiler's builtins, which use its memcpy.
    flag -Clink-self-contained=no -Lnative="$musl" -Lnative="$PWD/target/cross/none" \
        -Zpre-link-arg="$musl/crt1.o" -Zpre-link-arg="$musl/crti.o" \
        -Clink-arg=-lc -Clink-arg="$musl/crtn.o"
    if [ "$what" = test ]; then
        # Panics abort here, too, but say why. What would need an unwinder is their backtrace.
        flag -Cpanic=abort -Zpanic_abort_tests
        flag -Clink-arg=--defsym=_Unwind_Backtrace=abort -Clink-arg=--defsym=_Unwind_GetIP=abort
        export RUST_BACKTRACE=0
        set -- -Zbuild-std=std,test,panic_abort
    else
        flag -Cpanic=immediate-abort
        set -- -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size
    fi
else
    flag -Clink-self-contained=yes
    set --
fi
echo "build.sh: $target with $("$rustc" -V), std $std, $lld" >&2

if [ "$what" = test ]; then
    export RUSTC="$rustc" CARGO_ENCODED_RUSTFLAGS="$encoded"
    exec "$cargo" test --quiet --locked --lib --test cli --target "$target" \
        --target-dir target/cross/tests "$@"
fi

# Smallest first, here, whatever Cargo.toml prefers for the machine it is built on.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=z
export RUSTC="$rustc" CARGO_ENCODED_RUSTFLAGS="$encoded"
"$cargo" build --quiet --locked --release --target "$target" --target-dir target/cross/cargo "$@"

mkdir -p "$out"
built=target/cross/cargo/$target/release/limopack
if [ "${CARGO_PROFILE_RELEASE_STRIP-}" = false ]; then
    cp "$built" "$out/limopack.symbols"
    exit
fi
# lld leaves room after the last segment for the headers of sections that it does not write.
end=$(readelf -lW "$built" | awk '$1 == "LOAD" { end = $2 " + " $5 } END { print end }')
# shellcheck disable=SC2004 # a sum, not a number
head -c $(($end)) "$built" > "$out/limopack"
chmod +x "$out/limopack"
size=$(wc -c < "$out/limopack")
echo "$target: $size bytes, $limit allowed"
if [ "$size" -gt "$limit" ]; then
    [ $std = prebuilt ] || [ "${OVERSIZE-}" = warn ] ||
        die "$target: too large by $((size - limit)) bytes; see make size-$target"
    echo "build.sh: warning: $target: too large by $((size - limit)) bytes" >&2
fi
