# The front door. Meson does the building; these are the commands people remember.

BUILD   ?= build
PYTHON  := /usr/bin/python3
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Debian 12 names of all that is needed to build, run, test and measure.
PACKAGES := \
	meson ninja-build gcc clang make pkg-config libc6-dev \
	libuv1-dev liblmdb-dev libpcre2-dev libjansson-dev libmicrohttpd-dev libcurl4-openssl-dev \
	libexpat1-dev libssl-dev libxxhash-dev libzstd-dev liblz4-dev zlib1g-dev libsystemd-dev \
	libcmocka-dev uthash-dev python3 python3-pytest python3-pytest-xdist rsync openssh-server openssh-client \
	lsyncd inotify-tools clang-format clang-tidy cppcheck sqlite3 iproute2 iptables e2fsprogs xfsprogs \
	libclang-rt-14-dev mandoc attr acl git

.DEFAULT_GOAL := build
.PHONY: help deps build test lint bench demo install clean

help:
	@echo "make build     compile into $(BUILD)/"
	@echo "make test      everything: both compilers, unit tests, sanitizers, simulation, scenarios, fuzz corpora, lint"
	@echo "               (make test PARTS='unit lint' runs some of it; tests/run.py --list names them)"
	@echo "make lint      only the checks of the source text"
	@echo "make bench     measure latency, throughput and footprint beside rsync and lsyncd"
	@echo "make demo      a daemon, two targets, a few hundred changes, and a proof that they are equal"
	@echo "make install   install below /usr/local (DESTDIR= and PREFIX= as usual)"
	@echo "make deps      install the Debian packages that the above need"
	@echo "make clean     remove what was built"

deps:
	@if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then \
		echo "deps: no Debian here; going on with what is installed. Needed: $(PACKAGES)"; exit 0; \
	fi; \
	missing=; for p in $(PACKAGES); do \
		[ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || missing="$$missing $$p"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	echo "deps: installing$$missing"; \
	$(SUDO) apt-get update -q && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing </dev/null

build: deps
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) $(if $(PREFIX),--prefix=$(PREFIX)) -Dtests=false
	@ninja -C $(BUILD)

test: deps
	@$(PYTHON) tests/run.py $(PARTS)

lint: deps
	@$(PYTHON) tests/run.py build-clang lint

bench: build
	@$(PYTHON) bench/run.py $(ARGS)

demo: build
	@LOCKSTEP=$(BUILD)/lockstep $(PYTHON) demo/demo.py $(ARGS)

install: build
	@meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir $(DESTDIR))

clean:
	@rm -rf $(BUILD) build-test
