#!/bin/sh
# Shows the main job on the sample root, each command before its output.
set -eu

bin=$1
root=$2

show() {
    printf '\n$ limopack --root=%s %s\n' "$root" "$*"
    "$bin" --root="$root" "$@"
}

show --list
show --tree --use=hci_nokia,ext4
show --install
show --install --use=hci-nokia --owner=myapp
printf '\n$ cat %s/lib/modules/*/modules.active\n' "$root"
cat "$root"/lib/modules/*/modules.active
show --prune --dry-run
show --apply --pkname=linux-modules-6.1.0-sample
printf '\n$ grep limopack %s/var/lib/dpkg/status\n' "$root"
grep limopack "$root/var/lib/dpkg/status"
