# Everything happens in .venv; nothing of the system is touched.
PYTHON ?= python3
BIN := .venv/bin
.PHONY: run install test lint check bench torture clean

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

bench: .venv/tested  ## ratios, measured side by side; takes some 20 minutes
	$(BIN)/python -m bench

torture: .venv/tested  ## kills, soak and fuzz; takes an hour
	TORTURE=1 $(BIN)/python -m pytest --timeout=3600 tests/torture tests/fuzz

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("trackrelay needs Python 3.11 or newer: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

.venv/checked: .venv/tested
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
