"""The same bytes on other processors, which QEMU emulates: ``make portability``.

Two trainings with most options: one dense on two threads, one convolutional on one and with the other stages but
parity, whose steps would take minutes. The reference is made by the real DVC on this processor.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.pipeline import arithmetic
from tests.imports import ROOT
from tests.project import ENGINES, Project, copy_project

QEMU = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(not QEMU, reason="no qemu-x86_64 (Debian: apt-get install qemu-user)"),
    pytest.mark.skipif(not arithmetic.can_pin(), reason="only x86-64 with AVX2 and FMA under Linux is pinned"),
]

PROCESSORS = {"an Intel Haswell": "Haswell", "an Intel Skylake": "Skylake-Client", "an AMD Rome": "EPYC-Rome"}
EVERYTHING = {
    "fetch.synthetic_train_size": "220",
    "network.batch_norm": "true",
    "network.dropout": "0.2",
    "optimizer.name": "adamw",
    "optimizer.ema_decay": "0.9",
    "optimizer.max_grad_norm": "5.0",
    "training.label_smoothing": "0.1",
    "augmentation.enabled": "true",
    "training.epochs": "2",
    "training.batch_size": "64",
}
NETWORKS = {
    "dense": {"network.hidden_sizes": "[128, 64]", "scratch.network.hidden_sizes": "[128, 64]"}
    | {"optimizer.name": "rmsprop", "network.activation": "gelu"}
    | {f"{engine}.threads": "2" for engine in ENGINES},
    "convolutional": {"network.channels": "[4, 8]"},
}
TRAINING = [f"train,{engine}" for engine in ENGINES]
EVALUATION = [f"evaluate,{engine}" for engine in ENGINES]
STAGES = {"dense": TRAINING, "convolutional": ["fetch", "preprocess", *TRAINING, *EVALUATION, "compare", "plot"]}


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """Both trainings by `dvc repro` on this processor, the dense one without what follows from it."""
    projects = {}
    for name, network in NETWORKS.items():
        projects[name] = copy_project(tmp_path_factory.mktemp(name))
        projects[name].set(EVERYTHING | network)
    projects["dense"].dvc("repro", "train_torch", "train_scratch")
    projects["convolutional"].dvc("repro")
    return projects


def emulate(processor: str, *command: str, folder: Path = ROOT) -> str:
    """Run Python on an emulated processor, and return its output and errors."""
    assert QEMU
    done = subprocess.run(
        [QEMU, "-cpu", processor, sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def without_results(reference: Project, folder: Path) -> Project:
    """A copy without what has been made, but for the splits and plots/parity.csv, which takes hundreds of steps."""
    project = reference.copy(folder)
    for name in ("models", "data/predictions", "metrics", "plots/images", *(f"plots/{engine}" for engine in ENGINES)):
        shutil.rmtree(project.folder / name, ignore_errors=True)
    return project


@pytest.mark.parametrize("processor", PROCESSORS.values(), ids=PROCESSORS)
@pytest.mark.parametrize("network", NETWORKS)
def test_another_processor_makes_the_same_bytes(
    references: dict[str, Project], tmp_path: Path, processor: str, network: str
) -> None:
    project = without_results(references[network], tmp_path / "project")
    if "fetch" in STAGES[network]:
        shutil.rmtree(project.folder / "data")
    emulate(processor, "-m", "tests.emulated", str(project.folder), *STAGES[network])
    made, expected = project.outputs(), references[network].outputs()
    assert made.keys() >= {"models/torch/mnist_model.pth", "models/scratch/model.npz", "plots/torch/history.csv"}
    assert {name: content for name, content in made.items() if content != expected[name]}.keys() == set()


def test_a_processor_without_avx2_says_that_results_may_differ_and_they_do(
    references: dict[str, Project], tmp_path: Path
) -> None:
    """So other kernels do show in the bytes that the tests above compare."""
    project = without_results(references["dense"], tmp_path / "project")
    output = emulate("Nehalem", "-m", "stages.train", "scratch", folder=project.folder)
    assert "note: this processor is not an x86-64 with AVX2 and FMA under Linux: results may differ" in output
    assert project.read("models/scratch/model.npz") != references["dense"].read("models/scratch/model.npz")
