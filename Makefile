# limopack: what a packager and a developer call. `make help` lists it.

DESTDIR =
PREFIX = /usr/local
CARGO = cargo
BIN = target/release/limopack
SAMPLE = target/sample

.PHONY: help release run test lint test-system install clean sample

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

test-system: release ## the real world: Debian kernels, depmod, modprobe (root, network)
	/usr/bin/python3 -m pytest tests/system

install: ## install below $(DESTDIR)$(PREFIX)
	install -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/sbin/limopack

clean: ## remove everything that was built
	$(CARGO) clean

-include cross/rules.mk
