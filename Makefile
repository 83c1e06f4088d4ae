# Two commands do all the set-up: `make serve` and `make test`. Each creates the virtual environment it needs.
#
# PYTHON       the interpreter, 3.11 or newer (python3)
# VENV         where the virtual environment goes (.venv)
# GPU          1: `make serve` installs torch, which runs networks on CUDA; 0: it does not. Where it is not given,
#              nvidia-smi is asked whether there is a GPU
# TORCH_INDEX  for `make test`: the address of PyTorch's index of CPU builds, as pytorch.org shows it under "Get
#              Started" for Linux, pip and CPU; without it pip takes the CUDA build, several GB larger
# CI=true      makes `make test` run what is marked slow, too, and try what fails a second time, which it lists;
#              MARKS says in pytest's words what runs
# TESTS        what `make test` runs (tests)
# DATA         what `make gpu-train` learns from, as `depth-train --data` has it (the synthetic world)
# MINUTES      for how long (10); without a GPU, tiny networks rehearse it
# TO           the folder into which it writes (runs/gpu)

PYTHON ?= python3
VENV ?= .venv
ifndef GPU
GPU := $(shell nvidia-smi --list-gpus >/dev/null 2>&1 && echo 1 || echo 0)
endif
TORCH_INDEX ?=
MARKS ?= $(if $(CI),,not slow)
TESTS ?= tests
DATA ?= synthetic:?sequences=8
MINUTES ?= 10
TO ?= runs/gpu
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
UNINSTALLED = { echo 'make: pip failed; its reason stands above. `make $(MAKECMDGOALS)` again goes on from here.' >&2; exit 1; }

ifeq ($(filter 0 1,$(GPU)),)
$(error GPU is '$(GPU)'; expected 1, to serve on CUDA, or 0)
endif
ifneq ($(TORCH_INDEX),)
CPU_TORCH := $(VENV)/.torch-cpu
endif

.DEFAULT_GOAL := help
.PHONY: help serve test check proto bench gpu-train audit release clean

help: ## Show what can be made.
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

serve: $(VENV)/.serve$(if $(filter 1,$(GPU)),-gpu) ## Start the service on the shipped student checkpoint, HTTP on 8000 and gRPC on 8001.
	@exec $(BIN)/depth-serve

# The tests run even where a check fails: one run shows everything there is to mend, and pytest has the last word.
# A worker gets whole files, so that what a file sets up is set up once (xdist 3.8's loadgroup is void in pytest 9.2).
test: $(VENV)/.dev ## Check and test everything.
	@$(MAKE) --no-print-directory check; checked=$$?; \
	$(BIN)/pytest -n logical --dist loadfile $(if $(CI),--reruns 1) -m "$(MARKS)" $(TESTS) && exit $$checked

check: $(VENV)/.dev ## Formatting, lint, types and the import rules; the same that CI runs.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The plugins that write the type stubs are found on the path.
proto: $(VENV)/.dev ## Regenerate service/rpc/pb from proto/.
	PATH="$(abspath $(BIN)):$$PATH" python -m grpc_tools.protoc -Iservice/rpc/pb=proto \
		--python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:. proto/*.proto

bench: $(VENV)/.dev ## Measure every preset on every backend; see benchmarks/ for the other scripts.
	$(BIN)/python benchmarks/presets.py

gpu-train: $(VENV)/.dev ## Pack DATA into 60 MB, and train a teacher and a student on a GPU for MINUTES.
	@mkdir -p '$(TO)'
	$(BIN)/python benchmarks/gpu_train.py pack --data '$(DATA)' --to '$(TO)/pack.safetensors'
	$(BIN)/python benchmarks/gpu_train.py train --pack '$(TO)/pack.safetensors' --minutes $(MINUTES) --to '$(TO)'

audit: $(VENV)/.dev ## Ask which known vulnerabilities the locked packages have; needs the network.
	$(BIN)/python docker/release.py audit

release: $(VENV)/.dev ## Build the wheel twice and compare, and write a bill of materials for each image.
	$(BIN)/python docker/release.py wheel
	$(BIN)/python docker/release.py sbom

clean: ## Remove the virtual environment and caches; runs/ and cache/ stay.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# A half-made environment would pass for a whole one, so what a failing venv leaves is removed.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make: Python 3.11 or newer is needed, $(PYTHON) is " + sys.version + "; say PYTHON=...")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(BIN); echo 'make: $(PYTHON) -m venv failed; on Debian, the package python3-venv has it' >&2; exit 1; }

# Which versions of torch will do is read from where it is said.
$(VENV)/.torch-cpu: $(BIN)/python
	@echo 'Installing the CPU build of torch into $(VENV) ...'
	@$(PIP_INSTALL) --upgrade --index-url $(TORCH_INDEX) $$($(BIN)/python -c 'import tomllib; \
	needs = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["torch"]; \
	print(*[need for need in needs if need.startswith("torch")])') || $(UNINSTALLED)
	@touch $@

# A stamp for each kind of installation; what developers need includes what serving needs. Clients of other makers go
# into an environment inside ours: Triton's wants an older protobuf than the service.
#
# OpenVINO's plugins for Intel's GPUs and NPUs are a tenth of what is installed, and the service has no use for them.
$(VENV)/.serve: $(BIN)/python pyproject.toml
	@echo 'Installing what serving on a CPU needs into $(VENV), without torch; `make serve GPU=1` installs it for CUDA ...'
	@$(PIP_INSTALL) --editable . || $(UNINSTALLED)
	@cd $(VENV)/lib/python3*/site-packages/openvino/libs && rm -f libopenvino_intel_[gn]pu_plugin.so cache.json
	@touch $@

$(VENV)/.serve-gpu: $(BIN)/python pyproject.toml
	@echo 'Installing what serving on CUDA needs into $(VENV), several GB; `make serve GPU=0` does without ...'
	@$(PIP_INSTALL) --editable '.[torch]' || $(UNINSTALLED)
	@touch $@ $(VENV)/.serve

$(VENV)/.dev: $(BIN)/python pyproject.toml tests/clients/fetch.py examples/node/package-lock.json $(CPU_TORCH)
	@echo 'Installing what development needs into $(VENV); this takes minutes the first time ...'
	@$(PIP_INSTALL) --editable '.[dev]' || $(UNINSTALLED)
	@$(BIN)/python docker/helm/fetch.py $(BIN)/helm || echo 'make: helm could not be had; tests of its chart will skip' >&2
	@$(BIN)/python -m venv $(VENV)/clients && $(VENV)/clients/bin/python -m pip install --quiet \
		--disable-pip-version-check 'tritonclient[grpc,http]>=2.60' \
		|| echo 'make: tritonclient could not be had; its tests will skip' >&2
	@$(BIN)/python -m venv $(VENV)/clients/kserve && $(VENV)/clients/kserve/bin/python -m pip install --quiet \
		--disable-pip-version-check 'kserve>=0.15' \
		|| echo 'make: kserve could not be had; its tests will skip' >&2
	@$(BIN)/python -m venv $(VENV)/clients/readers && $(VENV)/clients/readers/bin/python -m pip install --quiet \
		--disable-pip-version-check 'open3d-cpu>=0.19' 'rerun-sdk>=0.30' \
		|| echo 'make: Open3D and Rerun could not be had; their tests will skip' >&2
	@$(BIN)/python tests/clients/fetch.py $(VENV)/clients || true # it says which tests will skip
	@touch $@ $(VENV)/.serve $(VENV)/.serve-gpu
