#!/bin/sh
# Packs a tarball of a binary that build.sh has built, with all that goes with it: dist.sh TARGET
#
# Its tree is unpacked with `tar -xzf FILE -C /usr/local --strip-components=1`; the hooks lie apart
# in share/limopack. Made twice, the tarball has the same bytes.
set -eu
cd "$(dirname "$0")/../.."
. cross/build/lib.sh
packing "${1-}"

name=limopack-$version-$target
stage=$PWD/target/dist/stage-$target
rm -rf "$stage"
mkdir -p "$stage/$name/share/doc/limopack" "$stage/$name/share/limopack"
into "$stage/$name" PREFIX= HOOKS=
cp README.md CHANGELOG.md LICENSE "$stage/$name/share/doc/limopack"
cp -R cross/package/hooks "$stage/$name/share/limopack"
normalise "$stage"
rm -f target/dist/limopack-*-"$target".tar.gz
(cd "$stage" && tar --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -cf - "$name") |
    gzip -9n > "target/dist/$name.tar.gz"
rm -rf "$stage"
echo "target/dist/$name.tar.gz: $(wc -c < "target/dist/$name.tar.gz") bytes"
