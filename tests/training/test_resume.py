"""Training that was interrupted goes on from its last finished epoch and ends with the bytes of an undisturbed one."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.project import Project, copy_project

pytestmark = pytest.mark.slow

OPTIONS = {
    "channels": "[3]",
    "batch_norm": "true",
    "dropout": "0.2",
    "ema": "0.9",
    "augment": "true",
    "gradient_clip": "1.0",
    "label_smoothing": "0.1",
    "epochs": "12",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_project(tmp_path_factory.mktemp("resume"))
    project.dvc("repro", "preprocess")
    return project


def interrupt_after(project: Project, epoch: int, *command: str) -> str:
    """Stop the process group when the epoch is on record. Returns all that it said."""
    with project.started(*command) as process:
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith(f"epoch {epoch}/"):
                os.killpg(process.pid, signal.SIGTERM)
        return said


def results(project: Project, engine: str) -> dict[str, bytes]:
    names = (f"models/{engine}/", f"plots/{engine}/history.csv")
    return {name: content for name, content in project.made().items() if name.startswith(names)}


@pytest.mark.parametrize(
    ("engine", "optimizer", "threads"),
    [
        ("scratch", "adamw", 1),
        ("scratch", "nesterov", 2),
        ("scratch", "rmsprop", 1),
        ("scratch", "sgd", 2),
        ("torch", "adamw", 1),
        ("torch", "nesterov", 1),
    ],
)
def test_the_same_bytes_with_every_option(project: Project, engine: str, optimizer: str, threads: int) -> None:
    command = ("python", "-m", f"stages.train_{engine}")
    options: dict[str, Any] = {**OPTIONS, "optimizer": optimizer, "threads": threads, "resume": "false"}
    project.set({f"train_{engine}.{name}": value for name, value in options.items()})
    project.run(*command)
    undisturbed = results(project, engine)
    assert len(undisturbed) == 2
    project.set({f"train_{engine}.resume": "true"})
    assert "no interrupted training" in interrupt_after(project, 2, *command)
    said = interrupt_after(project, 4, *command)
    assert "epoch 3/12" in said
    assert "epoch 2/12" not in said
    assert "epoch 4/12" not in project.run(*command).stdout
    assert results(project, engine) == undisturbed
    assert not list((project.folder / "models" / engine).glob(".*"))  # nothing is left to resume


def test_other_parameters_another_seed_and_damage_start_anew(project: Project) -> None:
    command = ("python", "-m", "stages.train_scratch")
    project.set({"train_scratch.epochs": "12", "train_scratch.resume": "true"})
    checkpoint = project.folder / "models/scratch/.checkpoint.npz"
    for change, message in (
        ({"train_scratch.learning_rate": "0.002"}, "it is of other parameters, of other digits or of other code"),
        ({"seed": "2"}, "it is of other parameters, of other digits or of other code"),
        ({}, "cannot be resumed"),
    ):
        interrupt_after(project, 2, *command)
        if not change:
            checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
        project.set(change)
        said = project.run(*command).stdout
        assert message in said
        assert "epoch 1/12" in said


def test_dvc_repro_resumes_where_resume_is_set_after_the_interruption(project: Project) -> None:
    project.set({"train_scratch.epochs": "15", "train_scratch.resume": "false"})
    interrupt_after(project, 2, "dvc", "repro", "train_scratch")
    project.set({"train_scratch.resume": "true"})
    said = project.dvc("repro", "train_scratch")
    assert "epoch 3/15" in said
    assert "epoch 2/15" not in said
    assert Path(project.folder / "models/scratch/model.npz").exists()
