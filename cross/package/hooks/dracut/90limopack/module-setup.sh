#!/bin/bash
# Puts the modules that mount the root and the other file systems of the boot, with all that they
# need, into the initramfs.
#
# Installed as /usr/lib/dracut/modules.d/90limopack/module-setup.sh. What else belongs there, dracut
# knows: a registry holds drivers of graphics and sound, too, and their firmware would fill /boot.
# shellcheck disable=SC2154 # dracut sets kernel and dracutsysrootdir

check() {
    command -v limopack > /dev/null 2>&1
}

depends() {
    return 0
}

installkernel() {
    local boot name names=()
    if ! boot=$(limopack --list --boot --quiet --root="${dracutsysrootdir:-/}" --kernel="$kernel"); then
        dwarn "limopack: the initramfs is made without what the boot of $kernel needs"
        return 0
    fi
    while read -r name; do
        name=${name##*/}
        [[ -z $name ]] || names+=("${name%%.ko*}")
    done <<< "$boot"
    # The boot needs them, whether or not this host has them loaded.
    ((${#names[@]} == 0)) || hostonly='' instmods "${names[@]}"
}
