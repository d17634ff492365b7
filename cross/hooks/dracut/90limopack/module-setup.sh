#!/bin/bash
# Puts the modules that limopack keeps, with all that they need, into the initramfs.
#
# Installed as /usr/lib/dracut/modules.d/90limopack/module-setup.sh. Without limopack or without a
# registry for the kernel the module is left out, and dracut goes by its own rules alone.
# shellcheck disable=SC2154 # dracut sets kernel and dracutsysrootdir

limopack_registry() {
    echo "${dracutsysrootdir-}/lib/modules/$kernel/modules.active"
}

check() {
    command -v limopack > /dev/null 2>&1 || return 1
    # A registry may hold comments alone.
    grep -q '^[^#]' "$(limopack_registry)" 2> /dev/null || return 1
    return 0
}

depends() {
    return 0
}

limopack_list() {
    limopack --list --quiet --root="${dracutsysrootdir:-/}" --kernel="$kernel" --from="$1"
}

installkernel() {
    local kept name names=()
    # Where a registered module is missing, limopack says so and lists none. The others are needed
    # all the more: so again, with every name one that may be missing.
    if ! kept=$(limopack_list "$(limopack_registry)" ||
        sed '/^#/d; s/:.*/ ?/' "$(limopack_registry)" | limopack_list -); then
        dwarn "limopack: the initramfs is made without the registry of $kernel"
        return 0
    fi
    while read -r name; do
        name=${name##*/}
        [[ -z $name ]] || names+=("${name%%.ko*}")
    done <<< "$kept"
    # What is registered is wanted, whether or not this host has it.
    ((${#names[@]} == 0)) || hostonly='' instmods "${names[@]}"
}
