# make        install what is needed, run the pipeline, show the metrics
# make test   install what is needed, run all tests
# make check  format, lint and type checks
# make fuzz   give every parser 100,000 damaged files, 2 minutes
# make bench  time one training step of both engines
# make seeds  train with seeds 1, 2 and 3 and write metrics/seeds.json

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: all test check fuzz bench seeds
all: .venv/installed
	python -m stages.pipeline.params
	dvc repro
	dvc metrics show

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
