# limopack: what a packager and a developer call. `make help` lists it.

DESTDIR =
PREFIX = /usr/local
CARGO = cargo
BIN = target/release/limopack
SAMPLE = target/sample
MANUAL = target/manual

# Where make install puts things, below DESTDIR.
sysconfdir = /etc
sbindir = $(PREFIX)/sbin
mandir = $(PREFIX)/share/man
bashdir = $(PREFIX)/share/bash-completion/completions
zshdir = $(PREFIX)/share/zsh/site-functions
fishdir = $(PREFIX)/share/fish/vendor_completions.d
# The generators of initramfs images look nowhere else; packages belong into the first.
initramfsdir = $(if $(filter /usr,$(PREFIX)),/usr/share/initramfs-tools,$(sysconfdir)/initramfs-tools)
dracutdir = /usr/lib/dracut/modules.d
unitdir = $(PREFIX)/lib/systemd/system
# Where limopack looks for them.
groupsdir = /usr/lib/limopack/groups.d

.PHONY: faults fuzz help release run test lint test-system test-machines manual lint-manual install clean sample

release: ## build the release binary (the default)
	$(CARGO) build --release --locked

help: ## list what there is to make
	@grep -hE '^[a-z][a-zA-Z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-zA-Z-]+):.*## */\1\t/' | expand -t 16

sample: ## build a realistic root with one kernel under target/sample
	@sh tests/sample.sh $(SAMPLE)

run: release sample ## show the main job on the sample root
	@sh tests/show.sh $(BIN) $(SAMPLE)

test: ## unit and integration tests: no network, no root, no other tools
	$(CARGO) test --locked

lint: ## formatting, clippy, documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet

# How many tests run at once.
JOBS = $(shell nproc)

# The machines boot with what ships.
test-system: release ## the real world: Debian kernels, depmod, modprobe (root, network)
	$(if $(LIMOPACK_BIN),,OVERSIZE=warn cross/build/build.sh x86_64-unknown-linux-musl)
	$(if $(LIMOPACK_ARM),,OVERSIZE=warn cross/build/build.sh armv7-unknown-linux-musleabihf)
	/usr/bin/python3 -m pytest -n $(JOBS) --dist loadgroup --durations 20 -m "not long" tests/system

test-machines: export OVERSIZE = warn
test-machines: release cross ## what takes longest: whole systems, other processors, power cuts, updates of each suite (root, network)
	$(MAKE) deb ARCH=amd64
	$(MAKE) deb ARCH=armhf
	/usr/bin/python3 -m pytest -v -n $(JOBS) --dist loadgroup -m long tests/system

faults: release ## a fault at every system call of every action that writes (root, network)
	/usr/bin/python3 -m pytest -q -s tests/system/dpkg/test_faults.py

SECONDS = 60

fuzz: ## feed every parser with SECONDS=60 of invented bytes each (TARGET=dep for one)
	tests/fuzz/run.sh $(SECONDS) $(TARGET)

manual: $(addprefix $(MANUAL)/limopack,.8 -integration.7 .bash .zsh .fish) ## the man pages and the completions, in target/manual

$(MANUAL)/limopack%: src/cli/flags.rs $(wildcard src/cli/manual/*)
	@mkdir -p $(MANUAL)
	$(CARGO) run --locked --quiet --example manual -- $(@F) > $@.new
	@mv $@.new $@

lint-manual: manual ## check the man pages with mandoc, the completion with bash
	mandoc -T lint -W warning $(MANUAL)/limopack.8 $(MANUAL)/limopack-integration.7
	bash -n $(MANUAL)/limopack.bash

# FOLDER:PLACE:MODE, for each folder of cross/package/hooks. HOOKS= installs none.
HOOKS = \
	dpkg.cfg.d:$(sysconfdir)/dpkg/dpkg.cfg.d:644 \
	apt.conf.d:$(sysconfdir)/apt/apt.conf.d:644 \
	kernel/postinst.d:$(sysconfdir)/kernel/postinst.d:755 \
	kernel/postrm.d:$(sysconfdir)/kernel/postrm.d:755 \
	initramfs-tools/hooks:$(initramfsdir)/hooks:755 \
	dracut/90limopack:$(dracutdir)/90limopack:755 \
	systemd/system:$(unitdir):644

install: manual ## install $(BIN) and what goes with it, below $(DESTDIR)$(PREFIX)
	install -D -m 755 '$(BIN)' '$(DESTDIR)$(sbindir)/limopack'
	install -D -m 644 $(MANUAL)/limopack.8 '$(DESTDIR)$(mandir)/man8/limopack.8'
	install -D -m 644 $(MANUAL)/limopack-integration.7 '$(DESTDIR)$(mandir)/man7/limopack-integration.7'
	install -D -m 644 $(MANUAL)/limopack.bash '$(DESTDIR)$(bashdir)/limopack'
	install -D -m 644 $(MANUAL)/limopack.zsh '$(DESTDIR)$(zshdir)/_limopack'
	install -D -m 644 $(MANUAL)/limopack.fish '$(DESTDIR)$(fishdir)/limopack.fish'
	install -d -m 755 '$(DESTDIR)$(groupsdir)'
	install -m 644 cross/package/groups.d/*.conf '$(DESTDIR)$(groupsdir)'
	@set -e; for hook in $(HOOKS); do \
		IFS=:; set -- $$hook; unset IFS; \
		for file in cross/package/hooks/$$1/*; do \
			[ ! -f "$$file" ] || (set -x; install -D -m $$3 "$$file" "$(DESTDIR)$$2/$${file##*/}"); \
		done; \
	done

clean: ## remove everything that was built
	$(CARGO) clean

-include cross/rules.mk
