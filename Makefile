# Every target makes what it needs: only Python 3.11, 3.12 or 3.13, make and PyPI are assumed (docs/installing.md).
PYTHON ?= $(shell for one in python3.11 python3.12 python3.13; do $$one -c "" 2>/dev/null && echo $$one && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
# auto: the CUDA build of vLLM where there is a GPU that can run it, else the CPU build. Or cpu, cuda, models (all but
# vLLM), light (the server and its fakes).
ENGINE ?= auto
INSTALL := $(PYTHON) -I server/commands/install.py --venv $(VENV) --engine $(ENGINE) --editable
INSTALLER := pyproject.toml server/commands/install.py server/commands/constraints.txt
SERVES := $(VENV)/installed-$(ENGINE)
TESTS := $(SERVES)-dev

# Compiled modules are kept even where the environment says otherwise: tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo serve check test test-long fix lint typecheck tests-without-engines bench starter-eval lock clean
.DEFAULT_GOAL := help
# Tests without engines wait more than they compute, so there are four processes of them. Of those with engines, the tests
# of one file, and all that share the starter server, run in the same process (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

$(SERVES): $(INSTALLER)
	$(INSTALL)
	touch $@

$(TESTS): $(INSTALLER)
	$(INSTALL) --dev
	touch $(SERVES) $@

demo: $(SERVES)  ## start a server of the starter models and make a story video with it
	$(BIN)/muybridge demo

serve: $(SERVES)  ## run the server
	$(BIN)/muybridge serve

check: $(TESTS)  ## format, lint, layers, types, and all quick tests that need no engine
	$(MAKE) --no-print-directory --jobs 3 lint typecheck tests-without-engines

tests-without-engines: $(TESTS)
	$(PYTEST) --numprocesses 3 --dist worksteal -m "not engine and not slow and not long"

test: $(TESTS) lint typecheck  ## all that a change must pass, real engines included
	$(PYTEST) --numprocesses 4 --dist worksteal -m "not engine and not long"
	$(PYTEST) --numprocesses 2 --dist loadfile -m "engine and not long"

test-long: $(TESTS)  ## trainings, soaks, servers killed at any moment, the memory budget
	$(PYTEST) --numprocesses 2 --dist worksteal -m "long and not engine"
	$(PYTEST) -m "long and engine"

fix: $(TESTS)  ## format, and repair what the linter can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: $(TESTS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --config pyproject.toml

typecheck: $(TESTS)
	$(BIN)/pyright

bench: $(TESTS)  ## the benchmarks, each both sides in one run
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

starter-eval: $(TESTS)  ## how good the starter's checkpoints are, on what they were not trained on
	$(BIN)/python -m starter.evaluation

lock:  ## the lock file, from PyPI alone, for each Python that is supported
	$(PYTHON) scripts/lock.py python3.11 python3.12 python3.13

clean:  ## remove the environment and what was built
	rm -rf $(VENV) demo-output dist
