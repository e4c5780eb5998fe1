"""Training that was interrupted resumes after its last finished epoch and ends with the bytes of an undisturbed one."""

import os
import signal
from pathlib import Path

import pytest

from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("resume")]

OPTIONS = {
    "network.channels": "[3]",
    "network.batch_norm": "true",
    "network.dropout": "0.2",
    "optimizer.ema_decay": "0.9",
    "optimizer.max_grad_norm": "1.0",
    "augmentation.enabled": "true",
    "training.label_smoothing": "0.1",
    "training.epochs": "12",
}


@pytest.fixture(scope="module")
def trained(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished project with every option on."""
    project = finished.copy(tmp_path_factory.mktemp("resume") / "project")
    project.set(OPTIONS)
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
    return {name: content for name, content in project.outputs().items() if name.startswith(names)}


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
def test_the_same_bytes_with_every_option(trained: Project, engine: str, optimizer: str, threads: int) -> None:
    command = ("python", "-m", "stages.train", engine)
    options = {"optimizer.name": optimizer, f"{engine}.threads": str(threads), "training.resume": "false"}
    trained.set(options)
    trained.run(*command)
    undisturbed = results(trained, engine)
    assert len(undisturbed) == 2
    trained.set({"training.resume": "true"})
    assert "no interrupted training" in interrupt_after(trained, 2, *command)
    said = interrupt_after(trained, 4, *command)
    assert "epoch 3/12" in said
    assert "epoch 2/12" not in said
    assert "epoch 4/12" not in trained.run(*command).stdout
    assert results(trained, engine) == undisturbed
    assert not list((trained.folder / "models" / engine).glob(".*.npz"))  # nothing is left to resume


def test_another_config_another_seed_and_damage_start_over(project: Project) -> None:
    command = ("python", "-m", "stages.train", "scratch")
    project.set({"training.epochs": "12", "training.resume": "true"})
    checkpoint = project.folder / "models/scratch/.checkpoint.npz"
    for change, message in (
        ({"optimizer.learning_rate": "0.002"}, "it belongs to another config, other data or other code"),
        ({"seed": "2"}, "it belongs to another config, other data or other code"),
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
    project.set({"training.epochs": "15"})
    interrupt_after(project, 2, "dvc", "repro", "train_scratch")
    project.set({"training.resume": "true"})
    said = project.dvc("repro", "train_scratch")
    assert "epoch 3/15" in said
    assert "epoch 2/15" not in said
    assert Path(project.folder / "models/scratch/model.npz").exists()
