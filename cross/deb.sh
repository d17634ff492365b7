#!/bin/sh
# Makes a Debian package of a binary that build.sh has built: deb.sh ARCH
#
# What `make install` puts in place is packed, whatever it is; everything below /etc is a conffile.
# Built twice, the package has the same bytes.
set -eu
cd "$(dirname "$0")/.."
. cross/lib.sh
packing "${1-}"
maintainer=${MAINTAINER:-The limopack authors <limopack@limopack.example.org>}

stage=$PWD/target/deb/$arch
rm -rf "$stage"
mkdir -p "$stage/DEBIAN"
into "$stage" PREFIX=/usr

changelog() {
    printf 'limopack (%s) unstable; urgency=medium\n\n' "$version"
    LC_ALL=C awk -f cross/debian/changelog.awk CHANGELOG.md
    printf '\n -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

doc=$stage/usr/share/doc/limopack
mkdir -p "$doc" "$stage/usr/share/lintian/overrides"
changelog | gzip -9n > "$doc/changelog.gz"
cp cross/debian/copyright "$doc/copyright"
cp cross/debian/lintian-overrides "$stage/usr/share/lintian/overrides/limopack"
find "$stage/usr/share/man" -type f ! -name '*.gz' -exec gzip -9n {} +
normalise "$stage"

(cd "$stage" && find etc -type f 2> /dev/null | LC_ALL=C sort | sed 's|^|/|') \
    > "$stage/DEBIAN/conffiles"
[ -s "$stage/DEBIAN/conffiles" ] || rm "$stage/DEBIAN/conffiles"
# As dpkg counts: files in whole KiB, one for everything else.
size=$(find "$stage" -path "$stage/DEBIAN" -prune -o -type f -printf '%s\n' -o -printf '0\n' |
    awk '{ sum += $1 ? int(($1 + 1023) / 1024) : 1 } END { print sum }')
sed "s|@VERSION@|$version|; s|@ARCH@|$arch|; s|@MAINTAINER@|$maintainer|; s|@SIZE@|$size|" \
    cross/debian/control.in > "$stage/DEBIAN/control"
(cd "$stage" && find usr -type f | LC_ALL=C sort | xargs md5sum) > "$stage/DEBIAN/md5sums"
for script in preinst postinst prerm postrm; do
    [ ! -f "cross/debian/$script" ] || install -m 755 "cross/debian/$script" "$stage/DEBIAN/$script"
done
find "$stage/DEBIAN" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +

rm -f target/deb/limopack_*_"$arch".deb
package=target/deb/limopack_${version}_$arch.deb
# One thread and xz, because neither should depend on the machine or the distribution.
dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$stage" "$package" > /dev/null
rm -rf "$stage"
echo "$package: $(wc -c < "$package") bytes"

if command -v lintian > /dev/null; then
    # A root that builds in a container is told about less.
    lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$package"
else
    echo "deb.sh: not checked: apt-get install lintian" >&2
fi
