"""The section on sharing results: a folder as remote, and a second clone that takes from it what it needs."""

from pathlib import Path

import pytest

from tests.project import Project, stages_run
from tests.readme import commands

pytestmark = pytest.mark.slow

ADD_FOLDER, ADD_SSH, ADD_S3, PUSH, PULL, REPRO = commands("stages/README.md", "Share results")


def shell(project: Project, command: str) -> str:
    return project.run("sh", "-c", command).stdout


@pytest.fixture(scope="module")
def origin(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after its first run, pushed to a folder beside it."""
    folder = tmp_path_factory.mktemp("storage")
    origin = finished.copy(folder / "origin")
    shell(origin, ADD_FOLDER.replace("/mnt/shared/mnist", (folder / "storage").as_posix()))
    shell(origin, PUSH)
    return origin


@pytest.fixture
def other(origin: Project, tmp_path: Path) -> Project:
    """A clone of it with the same remote and no cache."""
    other = origin.clone(tmp_path / "other")
    shell(other, ADD_FOLDER.replace("/mnt/shared/mnist", (origin.folder.parent / "storage").as_posix()))
    return other


def test_a_second_clone_pulls_everything_and_the_run_cache_too(origin: Project, other: Project) -> None:
    """DVC leaves out of the remote what is in git, so of the run cache only stages without such results come back."""
    shell(other, PULL)
    assert "models/scratch/model.npz" in other.outputs()
    assert other.outputs() == origin.outputs()
    assert "up to date" in other.dvc("status")
    assert stages_run(other.dvc("repro")) == []
    other.run("git", "checkout", "--quiet", "HEAD~1")  # the commit before the run: its dvc.lock has other results
    output = other.dvc("repro", "preprocess")
    assert stages_run(output) == ["fetch"]  # which has no run cache, and draws the same images
    assert "Stage 'preprocess' is cached - skipping run, checking out outputs" in output


def test_a_second_clone_runs_only_what_changed(other: Project) -> None:
    assert stages_run(shell(other, REPRO)) == []
    other.set({"scratch.optimizer.learning_rate": "0.002"})
    changed = ["compare", "evaluate@scratch", "plot", "train_scratch"]
    assert sorted(stages_run(shell(other, REPRO))) == changed
    assert stages_run(shell(other, REPRO)) == []


def test_the_address_stays_out_of_git(other: Project) -> None:
    for command in (ADD_SSH, ADD_S3):
        shell(other, command.replace("add", "add --force"))
    assert not other.status()
    assert "s3://bucket/path" in other.dvc("remote", "list")
