# The body of one version in Debian's form, from its section of CHANGELOG.md: a bullet or a
# paragraph becomes one item, filled to 78 columns; a heading goes into brackets.
function flush(    words, n, i, line) {
    n = split(item, words, " ")
    line = "  *"
    for (i = 1; i <= n; i++) {
        if (length(line) + 1 + length(words[i]) > 78) {
            print line
            line = "   "
        }
        line = line " " words[i]
    }
    if (n)
        print line
    item = ""
}
/^## / { section++; next }
section != 1 { next }
/^### / { flush(); print ""; print "  [ " substr($0, 5) " ]"; next }
/^- / { flush(); item = substr($0, 3); next }
/^$/ { flush(); next }
{ item = item " " $0 }
END { flush() }
