# `make` alone lists what there is.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
# Not in the lock file: the CPU's wheel and the index's own are two files of one release.
TORCH := torch==2.13.0
LOCK := uv pip compile pyproject.toml --quiet --no-config-discovery --universal --python-version 3.11 --generate-hashes

.DEFAULT_GOAL := help
.PHONY: help demo test fuzz clients docs check fix

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml requirements/locked.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --no-deps --requirement requirements/locked.txt
	$(PIP) $(TORCH)
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY)  ## install into .venv and run the quickstart: 8 to 13 minutes on two cores
	$(BIN)/compress

test: $(READY)  ## run the whole test suite, a file at a time on each processor
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

fuzz: $(READY)  ## damaged and hostile folders and records, 25,000 of each kind: hours
	FUZZ_EXAMPLES=25000 FUZZ_RESULTS=benchmarks/results/fuzz.json $(BIN)/python -m pytest tests/fuzz --timeout 0

clients: $(READY)  ## every form of export in its own client, each in an environment of its own: gigabytes of downloads
	$(BIN)/python -m benchmarks.clients
	$(BIN)/python -m benchmarks.render

docs: $(READY)  ## write tables from benchmarks/results and docs/settings.md from conf/, then the site in build/site
	$(BIN)/python -m benchmarks.render
	$(BIN)/python docs/make_settings.py
	$(BIN)/python docs/make_site.py

check: $(READY)  ## lint, types, formatting and the direction of imports
	$(BIN)/ruff check compress hydra_plugins tests benchmarks docs
	$(BIN)/ruff format --check compress hydra_plugins tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY)  ## format and mend what ruff can mend
	$(BIN)/ruff check --fix compress hydra_plugins tests benchmarks docs
	$(BIN)/ruff format compress hydra_plugins tests benchmarks docs
