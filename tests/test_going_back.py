"""Models of other commits, and of a training that was interrupted: in the cache, or made again with the same bytes."""

import os
import signal
from pathlib import Path

import pytest

from tests.project import Project, line_of, output_of, stages_run
from tests.readme import commands

pytestmark = pytest.mark.slow

MODEL = "models/scratch/model.npz"
GO, CHECKOUT, REPRO, BACK, CHECKOUT_AGAIN = commands("stages/README.md", "Go back")


def shell(project: Project, command: str, *, check: bool = True) -> str:
    return project.run("sh", "-c", command.replace("COMMIT", "HEAD~1"), check=check).stdout


@pytest.fixture(scope="module")
def origin(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, bytes]]:
    """A project with two runs in its history, and what the older one made."""
    project = finished.copy(tmp_path_factory.mktemp("origin") / "project")
    older = project.outputs()
    project.set({"scratch.network.hidden_sizes": "[24]"})
    project.dvc("repro")
    project.commit("Second run")
    return project, older


def test_the_models_of_an_older_commit_are_made_again_and_the_newer_come_back(
    origin: tuple[Project, dict[str, bytes]], tmp_path: Path
) -> None:
    """In a clone, whose cache has what it made itself."""
    project, older = origin[0].clone(tmp_path / "project"), origin[1]
    project.dvc("repro")
    newer = project.outputs()
    assert newer == origin[0].outputs()
    shell(project, GO)
    output = project.run("sh", "-c", CHECKOUT, check=False)
    assert output.returncode
    assert "ERROR: Checkout failed for following targets:" in output.stdout
    assert MODEL in output.stdout
    assert MODEL not in project.outputs()
    shell(project, BACK)  # without having made them
    shell(project, CHECKOUT_AGAIN)
    assert project.outputs() == newer
    shell(project, GO)
    assert "train_scratch" in stages_run(shell(project, REPRO))
    assert project.outputs() == older
    assert project.status() == ""
    shell(project, BACK)
    shell(project, CHECKOUT_AGAIN)
    assert project.outputs() == newer
    assert project.status() == ""
    shell(project, GO)
    shell(project, CHECKOUT)  # now it has both
    assert project.outputs() == older


def test_after_an_interrupted_training_the_last_model_comes_back_and_the_training_can_be_had(project: Project) -> None:
    before = project.outputs()
    project.set({"training.epochs": "60"})
    undisturbed = project.copy(project.folder.parent / "undisturbed")
    undisturbed.dvc("repro", "train_scratch")
    with project.started("dvc", "repro", "train_scratch") as process:
        line_of(process, "epoch 20/")
        os.killpg(process.pid, signal.SIGKILL)
        output_of(process)
    assert MODEL not in project.outputs()
    project.run("git", "checkout", "--quiet", "dvc.lock", "metrics", "plots")
    project.dvc("checkout")
    assert project.outputs() == before
    project.dvc("repro", "train_scratch")
    assert project.outputs() == undisturbed.outputs()


def test_applying_an_experiment_keeps_what_was_not_committed_where_the_table_says(project: Project) -> None:
    command = "git checkout refs/exps/apply/stash -- ."
    assert f"`{command}`" in (Path(__file__).parents[1] / "stages/README.md").read_text(encoding="utf-8")
    project.dvc("exp", "run", "--temp", "--name", "wide", "--set-param", "scratch.network.hidden_sizes=[24]")
    project.set({"optimizer.learning_rate": "0.002"})
    code = project.folder / "stages/compare.py"
    code.write_text(f"{code.read_text(encoding='utf-8')}\n# my own line\n", encoding="utf-8")
    (project.folder / "notes.txt").write_text("mine\n", encoding="utf-8")
    mine = {path: project.read(path) for path in ("params.yaml", "stages/compare.py", "notes.txt")}
    project.dvc("exp", "apply", "wide")
    assert b"# my own line" not in project.read("stages/compare.py")
    assert b"- 24" in project.read("params.yaml")
    project.run("sh", "-c", command)
    assert {path: project.read(path) for path in mine} == mine


def test_checkout_does_not_replace_a_model_that_was_trained_by_hand(project: Project) -> None:
    project.set({"scratch.network.hidden_sizes": "[24]"})
    project.run("python", "-m", "stages.train", "scratch")
    by_hand = project.read(MODEL)
    refused = project.run("dvc", "checkout", check=False)
    assert refused.returncode
    assert "ERROR: Can't remove the following unsaved files without confirmation. Use `--force`" in refused.stdout
    assert project.read(MODEL) == by_hand
