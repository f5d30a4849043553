# The front door. Meson does the building; these are the commands people remember.

BUILD   ?= build
PYTHON  := /usr/bin/python3
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Debian 12 names of what is needed to build and to run, and of what tests and measurements need besides.
PACKAGES := \
	meson ninja-build gcc make pkg-config libc6-dev \
	libuv1-dev liblmdb-dev libpcre2-dev libjansson-dev libmicrohttpd-dev libcurl4-openssl-dev \
	libexpat1-dev libssl-dev libxxhash-dev libzstd-dev liblz4-dev zlib1g-dev libsystemd-dev \
	uthash-dev python3 rsync openssh-client
TEST_PACKAGES := \
	clang libcmocka-dev python3-pytest python3-pytest-xdist openssh-server \
	lsyncd inotify-tools clang-format clang-tidy cppcheck sqlite3 iproute2 iptables e2fsprogs xfsprogs \
	libclang-rt-14-dev mandoc attr acl git

.DEFAULT_GOAL := build
.PHONY: help deps test-deps build test lint bench demo install clean

help:
	@echo "make build     compile into $(BUILD)/"
	@echo "make test      everything: both compilers, unit tests, sanitizers, simulation, scenarios, fuzz corpora, lint"
	@echo "               (make test PARTS='unit lint' runs some of it; tests/run.py --list names them)"
	@echo "make lint      only the checks of the source text"
	@echo "make bench     measure latency, throughput and footprint beside rsync and lsyncd"
	@echo "make demo      a daemon, two targets, a few hundred changes, and a proof that they are equal"
	@echo "make install   install below /usr/local (DESTDIR= and PREFIX= as usual)"
	@echo "make deps      install the Debian packages that build, install and demo need; they call it themselves"
	@echo "make test-deps install those that test, lint and bench need besides; they call it themselves"
	@echo "make clean     remove what was built"

test-deps: PACKAGES += $(TEST_PACKAGES)
deps test-deps:
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
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) -Dtests=false
	@$(if $(PREFIX),meson configure $(BUILD) --prefix=$(PREFIX))
	@ninja -C $(BUILD)

test: test-deps
	@$(PYTHON) tests/run.py $(PARTS)

lint: test-deps
	@$(PYTHON) tests/run.py build-clang lint

bench: test-deps build
	@$(PYTHON) bench/run.py $(ARGS)

demo: build
	@LOCKSTEP=$(BUILD)/lockstep $(PYTHON) demo/demo.py $(ARGS)

install: build
	@meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir $(DESTDIR))

clean:
	@rm -rf $(BUILD) build-test
