#!/bin/sh
# Makes a Debian package of a binary that build.sh has built: deb.sh ARCH
# or that of the add-on for debhelper, cross/package/debhelper:        deb.sh all
#
# What `make install` puts in place is packed, whatever it is; everything below /etc is a conffile.
# Built twice, the package has the same bytes.
set -eu
cd "$(dirname "$0")/../.."
. cross/build/lib.sh
if [ "${1-}" = all ]; then
    umask 022
    release
    arch=all name=dh-limopack control=control-dh.in scripts=
else
    packing "${1-}"
    name=limopack control=control.in scripts='preinst postinst prerm postrm'
fi
maintainer=${MAINTAINER:-The limopack authors <limopack@limopack.example.org>}

stage=$PWD/target/deb/$arch
rm -rf "$stage"
mkdir -p "$stage/DEBIAN"
if [ "$arch" = all ]; then
    install -D -m 755 cross/package/debhelper/dh_limopack "$stage/usr/bin/dh_limopack"
    install -D -m 644 cross/package/debhelper/limopack.pm \
        "$stage/usr/share/perl5/Debian/Debhelper/Sequence/limopack.pm"
    install -D -m 644 cross/package/debhelper/dh_limopack.1 "$stage/usr/share/man/man1/dh_limopack.1"
else
    into "$stage" PREFIX=/usr
    install -D -m 644 cross/package/debian/lintian-overrides "$stage/usr/share/lintian/overrides/$name"
    install -m 644 cross/package/debian/triggers "$stage/DEBIAN/triggers"
fi

changelog() {
    printf '%s (%s) unstable; urgency=medium\n\n' "$name" "$version"
    LC_ALL=C awk -f cross/package/debian/changelog.awk CHANGELOG.md
    printf '\n -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

doc=$stage/usr/share/doc/$name
mkdir -p "$doc"
changelog | gzip -9n > "$doc/changelog.gz"
cp cross/package/debian/copyright "$doc/copyright"
find "$stage/usr/share/man" -type f ! -name '*.gz' -exec gzip -9n {} +
normalise "$stage"

(cd "$stage" && find etc -type f 2> /dev/null | LC_ALL=C sort | sed 's|^|/|') \
    > "$stage/DEBIAN/conffiles"
[ -s "$stage/DEBIAN/conffiles" ] || rm "$stage/DEBIAN/conffiles"
# As dpkg counts: files in whole KiB, one for everything else.
size=$(find "$stage" -path "$stage/DEBIAN" -prune -o -type f -printf '%s\n' -o -printf '0\n' |
    awk '{ sum += $1 ? int(($1 + 1023) / 1024) : 1 } END { print sum }')
sed "s|@VERSION@|$version|; s|@ARCH@|$arch|; s|@MAINTAINER@|$maintainer|; s|@SIZE@|$size|" \
    "cross/package/debian/$control" > "$stage/DEBIAN/control"
(cd "$stage" && find usr -type f | LC_ALL=C sort | xargs md5sum) > "$stage/DEBIAN/md5sums"
for script in $scripts; do
    [ ! -f "cross/package/debian/$script" ] || install -m 755 "cross/package/debian/$script" "$stage/DEBIAN/$script"
done
find "$stage/DEBIAN" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +

rm -f "target/deb/$name"_*_"$arch".deb
package=target/deb/${name}_${version}_$arch.deb
# One thread and xz, because neither should depend on the machine or the distribution.
dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$stage" "$package" > /dev/null
rm -rf "$stage"
echo "$package: $(wc -c < "$package") bytes"

if command -v lintian > /dev/null; then
    # A root that builds in a container is warned about less.
    lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$package"
else
    echo "deb.sh: not checked: apt-get install lintian" >&2
fi
