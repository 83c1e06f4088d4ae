# Two commands do all the set-up: `make serve` and `make test`. Each creates the virtual environment it needs.
#
# PYTHON   the interpreter, 3.11 or newer (python3)
# VENV     where the virtual environment goes (.venv)
# TORCH_INDEX  a package index with PyTorch's CPU build (the "Get started" page of pytorch.org names it); without it,
#          pip takes the CUDA build: several GB, and slow to install where there is no GPU
# TESTS    what `make test` runs (everything); MARKS: pytest's -m (in CI everything, else what is not slow)

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
TESTS ?= tests
BIN := $(VENV)/bin

ifeq ($(CI),true)
MARKS ?=
else
MARKS ?= not slow
endif

.DEFAULT_GOAL := help
.PHONY: help serve test check lint proto bench clean

help: ## Show what can be made.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

serve: $(VENV)/.serve ## Start the service on the shipped student checkpoint, HTTP on 8000 and gRPC on 8001.
	$(BIN)/depth-serve

test: check ## Check and test everything.
	$(BIN)/pytest -n auto --dist loadgroup -m "$(MARKS)" $(TESTS)

check: $(VENV)/.dev ## Formatting, lint, types and the import rules; the same that CI runs.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

proto: $(VENV)/.dev ## Regenerate service/rpc/pb from proto/.
	$(BIN)/python -m grpc_tools.protoc -Iservice/rpc/pb=proto --python_out=. --grpc_python_out=. \
		--mypy_out=quiet:. --mypy_grpc_out=quiet:. proto/*.proto

bench: $(VENV)/.dev ## Measure every preset on every backend; see benchmarks/ for the other scripts.
	$(BIN)/python benchmarks/presets.py

clean: ## Remove the virtual environment and caches; runs/ stays.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
ifneq ($(TORCH_INDEX),)
	$(BIN)/python -m pip install --quiet --index-url $(TORCH_INDEX) torch torchvision
endif

# A stamp for each kind of installation; what developers need includes what serving needs.
$(VENV)/.serve: $(VENV)/bin/python pyproject.toml
	[ -e $(VENV)/.dev ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.serve
