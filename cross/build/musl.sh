#!/bin/sh
# Prints the directory with musl's start files and libc.a for a Debian architecture: musl.sh ARCH
#
# Debian's musl-dev of that architecture is fetched on first use and unpacked below target/cross,
# with a sources list and apt state of its own: the machine's own apt knows nothing of foreign
# architectures afterwards. Elsewhere set MUSL to a directory that has these files.
set -eu
cd "$(dirname "$0")/../.."
. cross/build/lib.sh

arch=${1:?name a Debian architecture}
if [ -n "${MUSL-}" ]; then
    if [ ! -f "$MUSL/libc.a" ] || [ ! -f "$MUSL/crt1.o" ]; then
        die "MUSL=$MUSL has no libc.a and crt1.o"
    fi
    echo "$MUSL"
    exit
fi

found() {
    for file in target/cross/musl/"$arch"/usr/lib/*/libc.a; do
        [ -f "$file" ] && (cd "$(dirname "$file")" && pwd) && exit
    done
    return 0
}
found

command -v apt-get >/dev/null || die "no apt-get here to fetch musl-dev:$arch with; set MUSL"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keys" ] || die "no keys of Debian's archive: apt-get install debian-archive-keyring"
# shellcheck disable=SC2016 # apt's variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
    'Label: Debian' 'Component: main' | head -n 1)
[ -n "$mirror" ] || die "apt knows no Debian archive yet: apt-get update"
suite=$(. /etc/os-release && echo "${VERSION_CODENAME-}")

mkdir -p target/cross
work=$(mktemp -d "$PWD/target/cross/musl-$arch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/deb" "$work/tree"

apt() {
    apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null \
        -o Dir::Cache="$work/cache" -o APT::Architecture="$arch" -o APT::Architectures::="$arch" \
        -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

# This machine's release; the next one has architectures that it lacks (riscv64).
for suite in $suite trixie; do
    echo "deb [signed-by=$keys] $mirror $suite main" > "$work/sources.list"
    if apt update > "$work/log" 2>&1 && (cd "$work/deb" && apt download musl-dev) >> "$work/log" 2>&1
    then
        dpkg-deb -x "$work"/deb/*.deb "$work/tree"
        mkdir -p target/cross/musl
        # Another make job may have been faster.
        mv -T "$work/tree" "target/cross/musl/$arch" 2>/dev/null || :
        echo "musl.sh: fetched $(cd "$work/deb" && echo *.deb) from Debian's $suite" >&2
        found
    fi
done
cat "$work/log" >&2
die "could not fetch musl-dev for $arch"
