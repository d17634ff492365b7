# Sourced by the scripts beside it, which have gone to the top of the repository before.
# shellcheck shell=sh

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Every row's target, one a line.
targets() {
    awk -F '\t' '!/^#/ { print $1 }' cross/build/targets.tsv
}

# Sets target, arch, emulator, limit and flags from the row of a target, or from the first row of a
# Debian architecture.
row() {
    [ -n "$1" ] || die "name a target: $(targets | tr '\n' ' ')"
    line=$(awk -F '\t' -v key="$1" '!/^#/ && ($1 == key || $2 == key) { print; exit }' \
        cross/build/targets.tsv)
    [ -n "$line" ] || die "no row for $1 in cross/build/targets.tsv: $(targets | tr '\n' ' ')"
    tab=$(printf '\t')
    # shellcheck disable=SC2034 # read by the script that sources this
    IFS=$tab read -r target arch emulator limit flags <<END
$line
END
    # shellcheck disable=SC2034
    [ "$flags" != - ] || flags=
}

# Sets version and SOURCE_DATE_EPOCH, the same for everybody who builds this commit: the day of the
# changelog's first heading, or the commit's time while that says "unreleased". An unreleased
# version sorts before the released one.
release() {
    heading=$(sed -n '/^## /{s/^## //p;q}' CHANGELOG.md)
    version=${heading%% *}
    [ "$version" = "$(sed -n '/^version *=/{s/.*"\(.*\)".*/\1/p;q}' Cargo.toml)" ] ||
        die "CHANGELOG.md begins with $version, Cargo.toml has another version"
    day=${heading##* }
    if [ "$day" = unreleased ]; then
        [ -n "${SOURCE_DATE_EPOCH-}" ] || SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) ||
            die "no commit to take the time from: set SOURCE_DATE_EPOCH"
        version=$version~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S)
    else
        : "${SOURCE_DATE_EPOCH:=$(date -u -d "$day" +%s)}"
    fi
    export SOURCE_DATE_EPOCH
}

# Begins a package of a row's binary, which build.sh has built: sets binary and what row and release
# set, and what is made from now on is readable for all.
packing() {
    umask 022
    row "$1"
    release
    binary=target/cross/$target/limopack
    [ -f "$binary" ] || die "first: make cross-$target"
}

# into DIRECTORY VARIABLE=VALUE...: what `make install` puts in place. Its words matter if it fails.
into() {
    place=$1
    shift
    said=$(${MAKE:-make} --no-print-directory install BIN="$binary" DESTDIR="$place" "$@" 2>&1) ||
        die "make install failed:
$said"
}

# Gives everything below a directory the release's time and the usual modes.
normalise() {
    chmod -R u=rwX,go=rX "$1"
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}
