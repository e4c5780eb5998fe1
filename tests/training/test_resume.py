"""Training that was interrupted goes on from its last finished epoch and ends with the bytes of an undisturbed one."""

import os
import signal

import pytest

from tests.project import Project, stages_run

pytestmark = pytest.mark.slow

EPOCHS = 50  # of a few hundredths of a second each, so that every interruption comes long before the last one
OPTIONS = {
    "network.channels": "[3]",
    "network.batch_norm": "true",
    "network.dropout": "0.2",
    "optimizer.ema_decay": "0.9",
    "optimizer.max_grad_norm": "1.0",
    "augmentation.enabled": "true",
    "training.label_smoothing": "0.1",
    "training.epochs": str(EPOCHS),
}


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
        ("scratch", "adamw", 2),
        ("scratch", "nesterov", 1),
        ("scratch", "rmsprop", 2),
        ("scratch", "sgd", 1),
        ("torch", "adamw", 2),
        ("torch", "nesterov", 1),
    ],
)
def test_the_same_bytes_with_every_option(project: Project, engine: str, optimizer: str, threads: int) -> None:
    command = ("python", "-m", "stages.train", engine)
    project.set({**OPTIONS, "optimizer.name": optimizer, f"{engine}.threads": str(threads)})
    project.run(*command)
    undisturbed = results(project, engine)
    assert len(undisturbed) == 2
    assert f"epoch 1/{EPOCHS}" in interrupt_after(project, 2, *command)
    if engine == "scratch":  # once is enough where a start takes seconds
        assert f"epoch 3/{EPOCHS}" in interrupt_after(project, 4, *command)
    said = project.run(*command).stdout
    assert "resuming after epoch " in said
    assert f"epoch {EPOCHS}/{EPOCHS}" in said
    assert f"epoch 2/{EPOCHS}:" not in said
    assert results(project, engine) == undisturbed
    assert not list((project.folder / "models" / engine).glob(".check*"))  # nothing is left to resume


def test_another_config_another_seed_other_code_and_damage_start_anew(project: Project) -> None:
    command = ("python", "-m", "stages.train", "scratch")
    project.set({"training.epochs": str(EPOCHS)})
    checkpoint, code = project.folder / "models/scratch/.checkpoint.npz", project.folder / "stages/training/loop.py"
    another = "is of a training with other config, data, code, device, kernels or packages"
    for change, message in (
        (lambda: project.set({"optimizer.learning_rate": "0.002"}), another),
        (lambda: project.set({"seed": "2"}), another),
        (lambda: code.write_text(code.read_text() + "\n"), another),
        (lambda: checkpoint.write_bytes(checkpoint.read_bytes()[:-1000]), "cannot be resumed"),
    ):
        interrupt_after(project, 2, *command)
        change()
        said = project.run(*command).stdout
        assert message in said
        assert f"epoch 1/{EPOCHS}" in said


def test_dvc_repro_resumes_by_itself_and_then_has_nothing_to_do(project: Project) -> None:
    project.set({"training.epochs": str(EPOCHS)})
    interrupt_after(project, 2, "dvc", "repro", "train_scratch")
    said = project.dvc("repro", "train_scratch")
    assert "resuming after epoch " in said
    assert f"epoch 2/{EPOCHS}:" not in said
    assert "models/scratch/model.npz" in project.outputs()
    assert "train_scratch" not in stages_run(project.dvc("repro", "train_scratch"))
