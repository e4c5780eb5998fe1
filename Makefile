# make              install what is needed, run the pipeline, show the metrics, compare with the committed results
# make CPU=1        the same with PyTorch's packages for the CPU, which save gigabytes on Linux
# make scratch      install all but PyTorch, train and evaluate the NumPy network, show its metrics
# make reproduce    run the committed pipeline again in a clone, and compare every output with the committed one
# make plots        build the page of all charts and figures, which needs no network; REVISIONS="HEAD~1" compares
# make predict      read the digits in pictures, FILES="photo.jpg folder"; --help says what else FILES may hold
# make draw         build the page on which one draws a digit and sees the networks of the last run think
# make screenshot   draw a digit on that page in Chromium, and write the README's animation of it
# make quick        run everything with one epoch each, beside the workspace, and show what comes of it
# make export       write both trained networks as ONNX files, models/ENGINE/model.onnx; DTYPE=float32: from such pixels
# make sweep        search sweep.yaml's space, run the best trial as an experiment; ADDRESS=HOST:PORT on a Ray cluster,
#                   RESUME=1 goes on with a sweep that was stopped
# make gate         fail when accuracy has fallen significantly below the best ancestor, or BASELINE=REV
# make test         install what is needed, run the tests that a change needs, at most 4 minutes
# make test-all     run all tests but those of portability, about 35 minutes
# make portability  compare results with those of other processors, which QEMU emulates, about 8 minutes
# make check        format, lint and type checks
# make fuzz         give every parser 100,000 damaged files, 2 minutes
# make mutation     break what computes results, line by line, and see the tests go red, 100 minutes; MODULES="stages/..."
# make bench        time training in both engines, and in what else people use; writes metrics/speed.json; ROUNDS=1
#                   NETWORKS="784-128-64-10 seconds" for one, and the seconds of training to some accuracies
# make handwriting  read test digits drawn as scans and photos, and write metrics/handwriting.json, 8 minutes
# make seeds        train with seeds 1 to 10 and write metrics/seeds.json; SEEDS=30 ADDRESS=HOST:PORT on a Ray cluster
# make recipes      train the README's recipes with 5 seeds each and write metrics/recipes.json, for hours;
#                   RECIPES="dense best@torch" for some; SEEDS and ADDRESS as for make seeds

PYTHON ?= python3
CPU_INDEX ?= https://download.pytorch.org/whl/cpu
# What suffices for targets that do without PyTorch.
BASE := $(or $(wildcard .venv/installed),.venv/scratch)
CLUSTER := $(if $(ADDRESS)$(RAY_ADDRESS),.venv/sweep)
# DVC runs `python` from this PATH, with the shell of make instead of the user's.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SHELL
# What would send Python, pip or git (in one of its hooks) elsewhere.
unexport PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONINSPECT PYTHONOPTIMIZE PYTHONWARNINGS
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_DRY_RUN PIP_NO_DEPS GIT_DIR GIT_INDEX_FILE GIT_WORK_TREE

TARGETS = all scratch reproduce plots predict draw screenshot quick export sweep gate test test-all portability check fuzz mutation bench \
    handwriting seeds recipes
.PHONY: $(TARGETS) preflight
$(TARGETS) .venv/installed .venv/scratch .venv/export .venv/sweep .venv/bench: | preflight

all: .venv/installed
	.venv/bin/python -m stages.engines.config
	.venv/bin/python -m dvc repro
	.venv/bin/python -m dvc metrics show metrics/summary.json
	@.venv/bin/python -m stages.tools.results

scratch: $(BASE)
	.venv/bin/python -m stages.engines.config
	.venv/bin/python -m dvc repro evaluate@scratch
	.venv/bin/python -m dvc metrics show metrics/scratch.json

reproduce: .venv/installed
	@.venv/bin/python -m stages.tools.reproduce

plots: $(BASE)
	@.venv/bin/python -m stages.tools.report $(REVISIONS)

predict: $(BASE)
	@.venv/bin/python -m stages.tools.predict $(FILES)

draw: $(BASE)
	@.venv/bin/python -m stages.tools.draw

screenshot: .venv/installed
	@.venv/bin/python -m tests.screenshot

quick: .venv/installed
	@.venv/bin/python -m stages.tools.quick

export: .venv/export
	@.venv/bin/python -m stages.tools.export $(if $(DTYPE),--dtype $(DTYPE))

sweep: .venv/sweep
	@.venv/bin/python -m stages.tools.sweep $(if $(ADDRESS),--address $(ADDRESS)) $(if $(filter-out 0,$(RESUME)),--resume)

gate: .venv/installed
	@.venv/bin/python -m stages.tools.gate $(BASELINE)

test: .venv/installed
	.venv/bin/python -m pytest -n 2 --dist loadfile -m "not slow and not emulated"

test-all: .venv/installed
	.venv/bin/python -m pytest -n 2 --dist loadfile -m "not emulated"

portability: .venv/installed
	.venv/bin/python -m pytest -n 2 -m emulated

check: .venv/installed
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy

fuzz: .venv/installed
	.venv/bin/python -m tests.fuzz.parsers

mutation: .venv/installed
	.venv/bin/python -m tests.mutation $(MODULES)

bench: .venv/bench
	.venv/bin/python -m tests.benchmarks.speed $(NETWORKS) $(if $(ROUNDS),--rounds $(ROUNDS))

handwriting: .venv/installed
	.venv/bin/python -m tests.benchmarks.handwriting

seeds: .venv/installed $(CLUSTER)
	.venv/bin/python -m tests.benchmarks.seeds $(if $(SEEDS),--seeds $(SEEDS)) $(if $(ADDRESS),--address $(ADDRESS))

recipes: .venv/installed $(CLUSTER)
	.venv/bin/python -m tests.benchmarks.recipes $(if $(SEEDS),--seeds $(SEEDS)) $(if $(ADDRESS),--address $(ADDRESS)) $(RECIPES)

preflight:
	@$(or $(wildcard .venv/bin/python),$(PYTHON)) stages/tools/preflight.py

# pip adds an index to those of its own settings, and takes 2.14.1+cpu for 2.14.1.
PIP = .venv/bin/python -m pip install --no-user --constraint constraints.txt $(if $(filter 1,$(CPU)),--extra-index-url $(CPU_INDEX))
FAILED = { echo "error: pip failed, as it says above; if it had no network, run the same again with one" >&2; exit 1; }
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) stages/tools/preflight.py $(if $(filter 1,$(CPU)),cpu,all)
	$(PYTHON) -m venv .venv
	@$(PIP) '.[torch,development]' || $(FAILED)
	touch $@

.venv/scratch: pyproject.toml constraints.txt
	@$(PYTHON) stages/tools/preflight.py scratch
	$(PYTHON) -m venv .venv
	@$(PIP) . || $(FAILED)
	touch $@

.venv/bench: .venv/installed
	@$(PIP) '.[bench]' || $(FAILED)
	touch $@

.venv/sweep: $(BASE)
	@$(PIP) '.[sweep]' || $(FAILED)
	touch $@

.venv/export: $(BASE)
	@$(PIP) '.[export]' || $(FAILED)
	touch $@
