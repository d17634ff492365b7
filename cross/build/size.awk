# What each module costs: readelf -SW FILE and readelf -sW --demangle=rust FILE in, a table out.
#
# A generic is counted where it is defined, not where it is used; what was inlined, where it went.
# Constants without a symbol (texts, tables) are the remainder.

# [ 2] .rodata  PROGBITS  000100e8 0000e8 0032ba 00 ...
/^ *\[ *[0-9]+\] / {
    number = $0
    sub(/^ *\[ */, "", number)
    sub(/^ *\[ *[0-9]+\] */, "")
    if ($2 != "NOBITS" && $1 ~ /^\.(text|rodata|data|got|init|fini|init_array|eh_frame)/) {
        in_file[number + 0] = 1
        all += hex($5)
    }
    next
}

# 12: 000133a9  9500 FUNC  LOCAL  DEFAULT  3 limopack::actions::act; names of one place count once
($4 == "FUNC" || $4 == "OBJECT") && in_file[$7] && !seen[$2 " " $3]++ {
    size = $3 ~ /^0x/ ? hex(substr($3, 3)) : $3
    name = $8
    for (i = 9; i <= NF; i++)
        name = name " " $i
    name = part(name)
    bytes[name] += size
    count[name]++
    total += size
}

function hex(digits,    n, i) {
    for (i = 1; i <= length(digits); i++)
        n = n * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
    return n
}

# limopack::actions::list for <limopack::actions::list::Turn as core::fmt::Display>::fmt::{closure#0}
function part(name,    words, n, i, path) {
    if (name == "main")
        return "limopack: main and what went into it"
    if (name ~ /^OUTLINED/)
        return "sequences that the outliner shared"
    if (name !~ /::/)
        return "C library"
    gsub(/^(<|&|mut |\(|\[|\*|const |dyn )+/, "", name)
    gsub(/[<>( ,;\])].*$/, "", name)
    n = split(name, words, "::")
    path = words[1]
    if (n == 1)
        return "core::" path
    # Modules are in small letters; the last word is the function.
    for (i = 2; i < n && i <= (words[1] == "limopack" ? 3 : 2) && words[i] ~ /^[a-z_0-9]+$/; i++)
        path = path "::" words[i]
    return path
}

END {
    for (name in bytes)
        printf "%8d %5d  %s\n", bytes[name], count[name], name | "sort -k1,1nr -k3"
    close("sort -k1,1nr -k3")
    printf "%8d %5s  %s\n", all - total, "", "constants without a name, padding"
    printf "%8d %5s  %s\n", all, "", "in all"
}
