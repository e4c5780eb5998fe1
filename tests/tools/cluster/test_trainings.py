"""`make seeds` and `make recipes` on a cluster, and the trainings that workers do: the pipeline's, to the byte."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import dvc.api
import numpy as np
import pytest
from ray.exceptions import RayTaskError

from stages.data.idx import Bytes
from stages.engines import ENGINES
from stages.engines.config import AugmentationConfig, EngineConfig, NetworkConfig, TorchConfig, TrainingConfig
from stages.pipeline.errors import PipelineError
from stages.tools.cluster.errors import cause_of
from stages.tools.cluster.node import differences, environment
from stages.tools.cluster.room import Room
from stages.tools.cluster.training import Job, Training
from tests.imports import ROOT
from tests.project import Project
from tests.tools.cluster.clusters import started_cluster


@pytest.fixture(scope="module")
def raw() -> tuple[Bytes, Bytes]:
    """240 images of noise, brighter in a column that tells the class."""
    generator = np.random.default_rng(0)
    labels = np.arange(240, dtype=np.uint8) % 10
    images = generator.integers(0, 100, (240, 28, 28), np.uint8)
    images[np.arange(240), :, labels * 2] += 100
    return images, labels


def job(engine: str, seed: int) -> Job:
    """Everything that draws random numbers: dropout, augmentation, shuffling, initialization, the split."""
    kind = {"torch": TorchConfig, "scratch": EngineConfig}[engine]
    config = kind(
        network=NetworkConfig(hidden_sizes=[16], dropout=0.3),
        training=TrainingConfig(epochs=3, batch_size=20),
        augmentation=AugmentationConfig(enabled=True),
    )
    return Job(engine, config, seed, 40)


def models(trainings: Sequence[Training]) -> list[bytes]:
    """Train side by side, an epoch of each in turn."""
    is_finished = [False]
    while not all(is_finished):
        is_finished = [training.advance().is_finished for training in trainings]
    return [training.model() for training in trainings]


@pytest.mark.parametrize("engine", ["torch", "scratch"])
def test_a_training_is_the_same_beside_others_and_after_its_worker_was_lost(
    engine: str, raw: tuple[Bytes, Bytes]
) -> None:
    alone = [models([Training(job(engine, seed), raw)])[0] for seed in (1, 2)]
    assert alone[0] != alone[1]
    assert models([Training(job(engine, seed), raw) for seed in (1, 2)]) == alone
    lost = Training(job(engine, 1), raw)
    lost.advance()
    checkpoint = lost.advance().checkpoint
    resumed = Training(job(engine, 1), raw, checkpoint)
    assert len(resumed.progress.epochs) == 2
    assert models([resumed]) == alone[:1]


def test_what_differs_between_machines_is_named() -> None:
    here = environment(["numpy", "pydantic"])
    assert differences(here, here) == []
    there = here._replace(
        python="3.9",
        packages={**here.packages, "pydantic": "not installed"},
        can_pin=not here.can_pin,
        variables={**here.variables, "MKL_CBWR": "AVX2"},
    )
    wanted = here._replace(variables={"MKL_CBWR": "COMPATIBLE"})
    python, package, processor, variable = differences(there, wanted)
    assert python == f"Python is 3.9, must be {here.python}"
    assert package == f"pydantic is not installed, must be {here.packages['pydantic']}"
    assert processor.startswith("AVX2 and FMA is ")
    assert variable == "MKL_CBWR is AVX2, must be COMPATIBLE"


def test_what_a_worker_raises_is_one_line() -> None:
    assert cause_of(RayTaskError("advance", "", PipelineError("training diverged"))) == "training diverged"
    assert cause_of(RayTaskError("advance", "", MemoryError())) == "out of memory"
    error = RuntimeError("[enforce fail at alloc_cpu.cpp]\nDefaultCPUAllocator: can't allocate memory")
    assert cause_of(RayTaskError("advance", "", error)).startswith("RuntimeError: [enforce fail at alloc_cpu.cpp] Def")


def test_a_device_that_differs_between_machines_is_refused() -> None:
    with pytest.raises(PipelineError, match="device: must be cpu or cuda, because auto differs"):
        Room().check(TorchConfig(device="auto"))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or os.cpu_count() == 1, reason="no core can be left out here")
def test_a_cluster_of_this_machine_has_the_cores_that_this_process_may_use() -> None:
    code = (
        "import os, stages.tools.cluster.connection as here; os.sched_setaffinity(0, {%d}); print(here.allowed_cores())"
    )
    command = [sys.executable, "-c", code % min(os.sched_getaffinity(0))]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "1\n"


@pytest.mark.slow
def test_seeds_and_recipes_give_the_same_on_a_cluster(project: Project, tmp_path: Path) -> None:
    images = tmp_path / "images"  # which do not depend on the seed, as synthetic ones do
    shutil.copytree(project.folder / "data/raw", images)
    project.set({"fetch.dataset": "custom", "fetch.sources": "[directory]", "fetch.directory": str(images)})
    project.commit("Other images")
    seeds = ("python", "-m", "tests.benchmarks.seeds", "--seeds", "2")
    recipes = ("python", "-m", "tests.benchmarks.recipes", "one-epoch@scratch", "--seeds", "2")
    for command in (seeds, recipes):
        project.run(*command)
    here = [project.read("metrics/seeds.json"), project.load_json("metrics/recipes.json")["one-epoch"]["scratch"]]
    assert json.loads(here[0])["seeds"] == [1, 2]
    for name in ("seeds", "recipes"):
        (project.folder / f"metrics/{name}.json").unlink()
    with started_cluster(2, cores=2) as cluster:
        outputs = [project.run(*command, "--address", cluster.address).stdout for command in (seeds, recipes)]
        again = project.run(*seeds, "--address", cluster.address).stdout
    trained = {path.read_bytes() for path in (project.folder / "sweep/models").iterdir()}
    for engine, path in ENGINES.items():
        assert {
            dvc.api.read(path.as_posix(), project.folder, f"seed-{seed}-{engine}", mode="rb") for seed in (1, 2)
        } < trained
    there = [project.read("metrics/seeds.json"), project.load_json("metrics/recipes.json")["one-epoch"]["scratch"]]
    assert there == [here[0], {**here[1], "seconds": None}]
    assert "4 of 4 trainings are to be done" in outputs[0]
    assert "all 4 models are in sweep/models already" in again
