# Everything happens in .venv; nothing of the system is touched.
PYTHON ?= python3
BIN := .venv/bin
.PHONY: screenshots run install test lint check floors lock deb release bench torture clean

run: install  ## try it: everything on loopback, nothing to configure
	$(BIN)/trackrelay demo

install: .venv/installed  ## .venv/bin/trackrelay

# Side by side, a file at a time: its tests share servers. The tests start many processes: without its cache of compiled
# modules each of them would compile the whole program.
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/tested  ## all tests; one whose server is missing skips by name, or fails with REQUIRE_SERVERS=1
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: .venv/checked  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test  ## style, types, tests

# The versions that users get depend on the day; the oldest that the ranges allow are held against attackers as well.
ATTACKS := $(foreach n,10 11 12 13 14 15 16 22 23 40 50 52,$(wildcard tests/scenarios/$(n)-*))
floors: export PYTHONDONTWRITEBYTECODE =
floors: .venv/floors/installed  ## the attacks, with the oldest versions of what trackrelay depends on
	.venv/floors/bin/python -m pytest -n auto --dist loadfile $(ATTACKS)

lock: .venv/checked  ## writes requirements.lock again, with the newest versions that the ranges allow
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml
	echo 'setuptools>=77' | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --custom-compile-command 'make lock' --output-file debian/build.lock -

deb: TO ?= dist
deb:  ## dist/trackrelay_VERSION-1_ARCHITECTURE.deb for Debian 12; needs debhelper and python3-venv, and nothing of .venv
	sh debian/build.sh $(TO)

release: .venv/tested  ## dist/: wheel, source distribution, .deb, SHA256SUMS; CONTRIBUTING.md has the steps before and after
	rm -rf dist
	$(BIN)/python -m build
	$(MAKE) deb
	cd dist && sha256sum -- * > SHA256SUMS

screenshots: .venv/tested  ## the pictures of the README, made by the demo; needs Chromium
	$(BIN)/python -m tests.screenshots

bench: .venv/tested  ## ratios, measured side by side; takes more than half an hour
	$(BIN)/python -m bench

torture: .venv/tested  ## kills, soak and fuzz; takes an hour
	TORTURE=1 $(BIN)/python -m pytest --timeout=3600 tests/torture tests/fuzz

# Exactly what requirements.lock names, each file by its hash.
.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("trackrelay needs Python 3.11 or newer: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

.venv/checked: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	touch .venv/tested $@

.venv/floors/installed: pyproject.toml | .venv/checked
	$(PYTHON) -m venv --clear .venv/floors
	$(BIN)/uv pip install --quiet --python .venv/floors/bin/python --resolution lowest-direct -r pyproject.toml
	$(BIN)/uv pip install --quiet --python .venv/floors/bin/python -r pyproject.toml --extra test
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
