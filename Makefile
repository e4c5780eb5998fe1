# make              install what is needed, run the pipeline, show the metrics, compare with the committed results
# make reproduce    run the committed pipeline again in a clone, and compare every output with the committed one
# make plots        build the page of all charts and figures, which needs no network; REVISIONS="HEAD~1" compares
# make quick        run everything with one epoch each, beside the workspace, and show what comes of it
# make gate         fail when accuracy is below the 95 % interval of the last commit's
# make test         install what is needed, run the tests that a change needs, at most 4 minutes
# make test-all     run all tests but those of portability, at most 15 minutes
# make portability  compare results with those of other processors, which QEMU emulates, about 7 minutes
# make check        format, lint and type checks
# make fuzz         give every parser 100,000 damaged files, 2 minutes
# make mutation     break every line of the backward passes in turn and see the tests go red, about 10 minutes
# make bench        time training in both engines, and in what else people use; writes benchmark.json
# make seeds        train with seeds 1, 2 and 3 and write metrics/seeds.json
# make recipes      train the README's recipes with 3 seeds each and write metrics/recipes.json, about an hour

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: all reproduce plots quick gate test test-all portability check fuzz mutation bench seeds recipes
all: .venv/installed
	python -m stages.engines.config
	dvc repro
	dvc metrics show metrics/summary.json
	@python -m stages.tools.results

reproduce: .venv/installed
	@.venv/bin/python -m stages.tools.reproduce

plots: .venv/installed
	@python -m stages.tools.report $(REVISIONS)

quick: .venv/installed
	@.venv/bin/python -m stages.tools.quick

gate: .venv/installed
	@.venv/bin/python -m stages.tools.gate

test: .venv/installed
	python -m pytest -n 2 --dist loadfile -m "not slow and not emulated"

test-all: .venv/installed
	python -m pytest -n 2 --dist loadfile -m "not emulated"

portability: .venv/installed
	python -m pytest -n 2 -m emulated

check: .venv/installed
	ruff format --check .
	ruff check .
	mypy

fuzz: .venv/installed
	python -m tests.fuzz.parsers

mutation: .venv/installed
	python -m tests.mutation.backward

bench: .venv/installed
	python -m tests.benchmarks.speed

seeds: .venv/installed
	python -m tests.benchmarks.seeds

recipes: .venv/installed
	python -m tests.benchmarks.recipes

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.X")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --constraint constraints.txt '.[development]'
	touch $@
