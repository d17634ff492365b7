# Cross-building, for the Makefile: binaries, smoke tests, sizes, packages. A row of targets.tsv is
# named by its target or by Debian's architecture: make cross-armhf.

CROSS = $(shell awk -F '\t' '!/^\#/ { print $$1 }' cross/build/targets.tsv)
# What packages are built for when none is asked for.
ARCH = $(shell dpkg --print-architecture)

.PHONY: cross-deps cross smoke size deb deb-dh dist test-i686 bench

cross-deps: ## install the Debian packages that the goals below need
	cross/build/install-deps.sh

cross: $(addprefix cross-,$(CROSS)) ## one static binary per row of cross/build/targets.tsv, in target/cross

cross-%: FORCE
	@cross/build/build.sh $*

smoke: $(addprefix smoke-,$(CROSS)) ## run them all under qemu and compare with the native binary

smoke-%: cross-% release sample
	@cross/build/smoke.sh $* $(BIN) $(SAMPLE)

test-i686: ## the tests with 32-bit numbers and pointers, and all of Rust's checks
	@cross/build/build.sh i386 test

size: size-armv7-unknown-linux-musleabihf ## what each module costs on ARMv7 (size-TARGET for another)

size-%: FORCE
	@cross/build/size.sh $*

deb: cross-$(ARCH) manual ## a Debian package for ARCH=armhf, ..., in target/deb
	@cross/package/deb.sh $(ARCH)

deb-dh: ## the Debian package of the add-on for debhelper, in target/deb
	@cross/package/deb.sh all

dist: $(addprefix dist-,$(CROSS)) ## a tarball per row with checksums, in target/dist
	@cd target/dist && sha256sum *.tar.gz > SHA256SUMS && cat SHA256SUMS

dist-%: cross-% manual
	@cross/package/dist.sh $*

# The binary that ships, not the one built for this machine.
bench: cross-x86_64-unknown-linux-musl cross-armv7-unknown-linux-musleabihf ## the table of tests/system/README.md, measured side by side in one run (root, network)
	RUSTFLAGS=-Ctarget-feature=-crt-static $(CARGO) build --quiet --release --locked --target-dir target/gnu
	LIMOPACK_BIN=target/cross/x86_64-unknown-linux-musl/limopack /usr/bin/python3 tests/system/bench/bench.py

FORCE:
