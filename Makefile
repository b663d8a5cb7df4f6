# The only task runner. `make` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-train check format bench conformance soak setup lock clean

VENV ?= .venv
VENV_TRAIN ?= .venv-train
VENV_TRITON ?= .venv-triton
export VENV VENV_TRAIN VENV_TRITON
# DCMTK leaves Nagle's algorithm on, which costs a delayed acknowledgement (about 50 ms) for every object sent.
export TCP_NODELAY := 1
# Debian keeps Orthanc and ldconfig in /usr/sbin, which is not on the PATH of a plain user.
export PATH := $(PATH):/usr/sbin
# Where Python is told to keep no bytecode, each of the hundreds of processes of the tests would compile every source.
export PYTHONDONTWRITEBYTECODE :=
BIN := $(VENV)/bin
# In the order of tests/slow_files.txt.
EVERYDAY = $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not train and not soak"

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: ## run the main job: make demo, or with your own study: make demo STUDY=/path/to/dicom
	@scripts/system_packages.sh runtime
	@scripts/setup.sh run
	@$(BIN)/radmeter demo $(if $(STUDY),"$(STUDY)")

test: ## run the tests (installs the DICOM programs they talk to)
	@scripts/system_packages.sh runtime
	@scripts/system_packages.sh test
	@scripts/setup.sh dev
	@VENV=$(VENV_TRITON) scripts/setup.sh triton || echo "without a Triton server its tests are skipped"
	@$(EVERYDAY) --ignore tests/acceptance --ignore tests/dicom_gateway $(ARGS)
	@# Whole servers, each of several processes: nothing beside them.
	@$(EVERYDAY) tests/acceptance tests/dicom_gateway $(ARGS)

test-train: ## run the tests of training and export (installs torch into .venv-train)
	@VENV=$(VENV_TRAIN) scripts/setup.sh train
	@$(VENV_TRAIN)/bin/python -m pytest -m train $(ARGS)

check: ## the whole gate: lint, format, types, import contracts, laws of the tree
	@scripts/setup.sh dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_*.py

format: ## apply the formatter and the fixes the linter is sure of
	@scripts/setup.sh dev
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

bench: ## measure; one table, and JSON in benchmarks/results
	@scripts/system_packages.sh test
	@scripts/setup.sh dev
	@$(BIN)/python -m benchmarks $(ARGS)

conformance: ## run outside validators over every kind of object of every model; writes docs/conformance.md
	@scripts/system_packages.sh runtime
	@scripts/system_packages.sh test
	@scripts/setup.sh dev
	@$(BIN)/python -m tests.conformance_table $(ARGS)

soak: ## run the slow campaigns
	@scripts/system_packages.sh test
	@scripts/setup.sh dev
	@$(BIN)/python -m pytest -m soak $(ARGS)

setup: ## build .venv with everything but the training packages
	@scripts/system_packages.sh runtime
	@scripts/setup.sh dev

lock: ## write requirements/*.txt anew from pyproject.toml; ARGS=--upgrade takes newer versions
	@scripts/lock.sh $(ARGS)

clean: ## remove environments, caches and demo data
	rm -rf .venv .venv-train .venv-triton .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		build dist demo-data test-artifacts
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
