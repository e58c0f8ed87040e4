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

.PHONY: demo test serve lint typecheck bench starter-eval lock clean
.DEFAULT_GOAL := test

$(SERVES): $(INSTALLER)
	$(INSTALL)
	touch $@

$(TESTS): $(INSTALLER)
	$(INSTALL) --dev
	touch $(SERVES) $@

demo: $(SERVES)
	$(BIN)/muybridge demo

serve: $(SERVES)
	$(BIN)/muybridge serve

test: $(TESTS) lint typecheck
	$(BIN)/python -m pytest

lint: $(TESTS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --config pyproject.toml

typecheck: $(TESTS)
	$(BIN)/pyright

bench: $(TESTS)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# How good the starter's checkpoints are, on what they were not trained on (docs/starter.md).
starter-eval: $(TESTS)
	$(BIN)/python -m starter.evaluation

# The lock file, from PyPI alone, for each Python that is supported.
lock:
	$(PYTHON) scripts/lock.py python3.11 python3.12 python3.13

clean:
	rm -rf $(VENV) demo-output dist
