# Sourced by the scripts beside it, which have gone to the top of the repository before.
# shellcheck shell=sh

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Every row's target, one a line.
targets() {
    awk -F '\t' '!/^#/ { print $1 }' cross/targets.tsv
}

# Sets target, arch, emulator, limit and flags from the row of a target, or from the first row of a
# Debian architecture.
row() {
    [ -n "$1" ] || die "name a target: $(targets | tr '\n' ' ')"
    line=$(awk -F '\t' -v key="$1" '!/^#/ && ($1 == key || $2 == key) { print; exit }' \
        cross/targets.tsv)
    [ -n "$line" ] || die "no row for $1 in cross/targets.tsv: $(targets | tr '\n' ' ')"
    tab=$(printf '\t')
    # shellcheck disable=SC2034 # read by the script that sources this
    IFS=$tab read -r target arch emulator limit flags <<END
$line
END
    # shellcheck disable=SC2034
    [ "$flags" != - ] || flags=
}
