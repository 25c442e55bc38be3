# make bench   measure MobileNetV2 on this machine        make test    the checks, but for the two below
# make setup   the environment alone                      make lock    resolve the dependencies anew
# make test-long    the longest of them
# make test-board   those on an emulated arm64 board
#
# Needs Python 3.11 with pip and venv. uv, at the version that requirements.lock pins, is fetched into .venv and installs the
# rest from that file, hashes checked. uv reads none of pip's settings: the machine's package index and certificates are handed on.

# Without bytecode each of the many processes that load TensorFlow takes 15 s to start.
unexport PYTHONDONTWRITEBYTECODE

IS_311 := -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'
PYTHON ?= $(shell for python in python3.11 python3; do $$python $(IS_311) 2>/dev/null && break; done; echo $$python)
BIN := .venv/bin
READY := .venv/.ready
RUNTIMES := $(basename $(wildcard harness/devices/requirements/*.in))

# `pip config get` would read the user's file alone, and miss the machine's. The evals make each setting be asked for once, and only
# when the environment is being set up.
PIP_SETTING = $(shell $(PYTHON) -m pip config list 2>/dev/null | sed -n "s/^global\.$(1)='\(.*\)'$$/\1/p")
INDEX = $(eval INDEX := $(or $(PIP_INDEX_URL),$(call PIP_SETTING,index-url)))$(INDEX)
CERT = $(eval CERT := $(or $(PIP_CERT),$(call PIP_SETTING,cert)))$(CERT)
NETWORK = $(if $(INDEX),PIP_INDEX_URL='$(INDEX)' UV_DEFAULT_INDEX='$(INDEX)') $(if $(CERT),PIP_CERT='$(CERT)' SSL_CERT_FILE='$(CERT)')
UV = $(NETWORK) $(BIN)/uv --quiet
COMPILE = $(UV) pip compile --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url

# $(call needs,PROGRAM:PACKAGE ...) installs what is missing where it may. No server is started: the tests run their own.
needs = @missing=$$(for each in $(1); do PATH="$$PATH:/usr/sbin:/sbin" command -v $${each%%:*} >/dev/null || echo $${each\#\#*:}; done); \
	test -z "$$missing" && exit; \
	test "$$(id -u)" = 0 && command -v apt-get >/dev/null || { echo "the tests need: apt install" $$missing >&2; exit 1; }; \
	echo "installing" $$missing; export DEBIAN_FRONTEND=noninteractive; guard=/usr/sbin/policy-rc.d; \
	test -e $$guard || { printf '\#!/bin/sh\nexit 101\n' > $$guard; chmod +x $$guard; ours=$$guard; }; \
	apt-get -qq update && apt-get -qq -y --no-install-recommends install $$missing >/dev/null; status=$$?; rm -f $$ours; exit $$status

.PHONY: bench test test-long test-board setup lint types unit system unit-measuring unit-models unit-other lock clean

# The tests that measure on this machine take turns at its lease. Beside them run those of models, and all others, whose boards have a
# lease of their own: much of what they do is wait.
MEASURING := tests/cli tests/devices tests/measure tests/tables
MODELS := tests/convert tests/networks tests/prune tests/training
MARKED := not long
SHELL := bash
.SHELLFLAGS := -o pipefail -c
BY_LINES = 2>&1 | sed --unbuffered 's/^/$@ | /'

bench: $(READY)
	$(BIN)/harness bench mobilenet_v2

test: $(READY)
	@$(MAKE) --no-print-directory --jobs=3 unit-measuring unit-models lint types unit-other

test-long: $(READY)
	@$(MAKE) --no-print-directory --jobs=3 MARKED=long unit

setup: $(READY)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vermin --quiet --no-tips --eval-annotations --violations --target=3.9- agent/latency_agent

# mypy knows Python 3.10 and up; vermin and ruff hold the agent to 3.9.
types: $(READY)
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 agent/latency_agent

unit: unit-measuring unit-models unit-other

system: $(READY)
	$(call needs,sshd:openssh-server ssh:openssh-client ip:iproute2)

unit-measuring: system
	$(BIN)/pytest -m "$(MARKED)" $(MEASURING) $(BY_LINES)

unit-models: system
	$(BIN)/pytest -m "$(MARKED)" $(MODELS) $(BY_LINES)

unit-other: system
	$(BIN)/pytest -m "$(MARKED)" $(addprefix --ignore=,$(MEASURING) $(MODELS) tests/board) $(BY_LINES)

# A whole arm64 board under emulation, made of Debian's packages into .board; the bundles that run on it, into .phone.
test-board: $(READY)
	$(call needs,ssh:openssh-client qemu-system-aarch64:qemu-system-arm dtc:device-tree-compiler cpio:cpio modinfo:kmod)
	$(BIN)/pytest tests/board

# The commands that name an index are not echoed: its address may hold a password.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) $(IS_311) || { echo "Python 3.11 is needed: make PYTHON=/path/to/python3.11; $(PYTHON) is $$($(PYTHON) -V)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "$(PYTHON) lacks venv or pip (Debian: python3.11-venv)" >&2; exit 1; }
	rm -f $@
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt
	@echo "installing what requirements.lock pins into .venv"
	@$(NETWORK) $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.txt
	@$(UV) pip sync --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

lock: $(READY)
	@$(COMPILE) --extra dev --python-version 3.11 pyproject.toml --output-file requirements.lock
	@$(foreach runtime,$(RUNTIMES),$(COMPILE) --python-version 3.9 $(runtime).in --output-file $(runtime).txt;)

clean:
	rm -rf .venv dist
