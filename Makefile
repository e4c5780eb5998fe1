# make        install what is needed, run the pipeline, show the metrics
# make plots  build the page of all charts and pictures, which needs no network; REVISIONS="HEAD~1" compares
# make quick  go through everything with one epoch each, beside the workspace, and show what comes of it
# make gate   fail when accuracy is below the 95 % interval of the last commit's
# make test   install what is needed, run all tests
# make check  format, lint and type checks
# make fuzz   give every parser 100,000 damaged files, 2 minutes
# make bench  time one training step of both engines
# make seeds  train with seeds 1, 2 and 3 and write metrics/seeds.json

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: all plots quick gate test check fuzz bench seeds
all: .venv/installed
	python -m stages.pipeline.params
	dvc repro
	dvc metrics show

plots: .venv/installed
	@python -m stages.tools.page $(REVISIONS)

# DVC runs it in a folder of its own: with what has changed in tracked files, and with new files where they are named.
NEW_FILES = $(shell git ls-files --others --exclude-standard)
quick: .venv/installed
	@dvc exp remove --quiet quick 2>/dev/null || true
	dvc exp run --temp --name quick $(NEW_FILES:%=--copy-paths %) \
		--set-param train_torch.epochs=1 --set-param train_scratch.epochs=1
	dvc metrics diff --all HEAD quick

gate: .venv/installed
	@python -m stages.tools.gate

test: .venv/installed
	python -m pytest

check: .venv/installed
	ruff format --check .
	ruff check .
	mypy

fuzz: .venv/installed
	python -m tests.fuzz.parsers

bench: .venv/installed
	python -m tests.benchmarks.steps

seeds: .venv/installed
	python -m tests.benchmarks.seeds

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.X")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --constraint constraints.txt '.[development]'
	touch $@
