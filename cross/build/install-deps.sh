#!/bin/sh
# Installs the Debian packages that building and trying the given rows need; without arguments,
# all rows: install-deps.sh [TARGET|ARCH...]
#
# Only what is missing is installed, and nothing is ever removed: where Debian's compiler would
# displace another one, apt says so and stops.
set -eu
cd "$(dirname "$0")/../.."
. cross/build/lib.sh

# std's source: rustup's nightly may have it.
packages='gcc git libc6-dev make debian-archive-keyring lintian'
source=$(rustup which --toolchain nightly rustc 2> /dev/null || :)
source=${source%/bin/rustc}/lib/rustlib/src/rust/library/Cargo.lock
[ -f "$source" ] || packages="$packages rustc-web cargo-web rust-web-src"
# The linker: rustup brings one.
[ -x "$(command -v rustup || :)" ] || packages="$packages lld"
# shellcheck disable=SC2046 # targets are words
[ $# -gt 0 ] || set -- $(targets)
for key; do
    row "$key"
    [ "$arch" = "$(dpkg --print-architecture)" ] || packages="$packages qemu-user"
done

missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || :)
    case " $missing " in *" $package "*) continue ;; esac
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
# shellcheck disable=SC2086 # both are lists of words
install() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        --no-install-recommends --no-remove install $missing
}
# The list may be old or absent. One that cannot be renewed may do.
$as_root apt-get -qq update || echo "install-deps.sh: warning: apt-get update failed" >&2
install
