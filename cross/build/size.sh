#!/bin/sh
# Prints what each module of the binary costs, largest first: size.sh TARGET|ARCH
# Columns: bytes, symbols, module.
set -eu
cd "$(dirname "$0")/../.."
. cross/build/lib.sh
row "${1-}"

CARGO_PROFILE_RELEASE_STRIP=false cross/build/build.sh "$target" >&2
file=target/cross/$target/limopack.symbols
# readelf reads every machine's files, unlike nm.
{ readelf -SW "$file"; readelf -sW --demangle=rust "$file"; } | awk -f cross/build/size.awk
