#!/bin/sh
# Runs a cross-built binary on the sample root and compares it with the native one:
# smoke.sh TARGET|ARCH NATIVE SAMPLE
#
# Each command of the list below must print the same bytes on stdout and stderr and end with the
# same exit code; afterwards both roots must be the same, file by file. qemu-user runs what this
# machine cannot. (Where qemu knows no openat2, its fallback is run as well.)
set -eu
cd "$(dirname "$0")/../.."
. cross/build/lib.sh
row "${1-}"
native=$(realpath "${2:?name the native binary}")
sample=$(realpath "${3:?name the sample root}")
cross=$(realpath "target/cross/$target/limopack") || die "first: make cross-$target"

# The machine's own architecture needs no emulator.
if [ "$arch" = "$(dpkg --print-architecture 2>/dev/null || :)" ]; then
    emulator=
else
    command -v "${emulator%% *}" > /dev/null || die "no ${emulator%% *}: apt-get install qemu-user"
fi

# One path for both, since messages name it.
work=$PWD/target/smoke/$target
rm -rf "$work"
mkdir -p "$work"
root=$work/root

# Arguments for limopack, one command a line. The root is a copy that they change one after another.
commands() {
    cat <<'END'
--version
--help

--list
--list --use=hci-nokia,ext4
--list --use=kernel/fs/fat/vfat.ko -u snd_pcm.ko.xz
--tree
--tree --use=hci_nokia,btrfs
--list --use=no_such_module
--list --kernel=no.such.kernel
--list --use=../../etc/passwd
--no-such-option
--list=value
--list unasked
--install
--install --use=hci-nokia --owner=myapp
--install --use=hci_nokia --owner=other
-isu vfat
--install --use=no_such_module
--remove --use=hci_nokia --owner=myapp
--remove --use=crc16
--list
--prune --dry-run
--prune
--list
--tree
--prune
--install --use=btrfs
--apply
--apply --pkname=no-such-package
--settle
END
}

# NAME COMMAND...: runs all commands with that binary, into $work/NAME.log; leaves $work/NAME.root.
run() {
    name=$1
    shift
    cp -a "$sample" "$root"
    commands | while IFS= read -r words; do
        code=0
        # shellcheck disable=SC2086 # words are meant to split
        "$@" --root="$root" $words > "$work/out" 2> "$work/err" < /dev/null || code=$?
        echo "== limopack $words"
        cat "$work/out"
        echo "-- stderr"
        cat "$work/err"
        echo "-- exit $code"
    done > "$work/$name.log"
    mv "$root" "$work/$name.root"
}

run native "$native"
# shellcheck disable=SC2086 # the emulator has arguments
run cross $emulator "$cross"

cmp -s "$work/native.log" "$work/cross.log" || {
    diff "$work/native.log" "$work/cross.log" >&2 || :
    die "$target: differs from the native binary; whole logs in target/smoke/$target"
}
diff -r --no-dereference "$work/native.root" "$work/cross.root" >&2 ||
    die "$target: left other files than the native binary"
grep -q '^-- exit 0' "$work/native.log" || die "no command worked"
rm -rf "$work/native.root" "$work/cross.root"
echo "$target: $(commands | wc -l) commands, the same output and files as the native binary"
