"""The README's section on shared storage: a folder as remote, and a second clone that takes from it what it needs."""

import subprocess
from pathlib import Path

import pytest

from tests.project import Project, copy_project, stages_run
from tests.readme import commands

pytestmark = pytest.mark.slow

ADD_FOLDER, ADD_SSH, ADD_S3, PUSH, PULL, REPRO = commands("Shared storage")


def clone(project: Project, folder: Path, storage: Path) -> Project:
    subprocess.run(["git", "clone", "--quiet", project.folder, folder], check=True)
    other = Project(folder)
    other.run("sh", "-c", ADD_FOLDER.replace("/mnt/shared/mnist", storage.as_posix()))
    return other


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, storage: Path) -> Project:
    """The project after a run that was committed and pushed."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    project.dvc("repro")
    project.commit("First run")
    project.run("sh", "-c", ADD_FOLDER.replace("/mnt/shared/mnist", storage.as_posix()))
    project.run("sh", "-c", PUSH)
    return project


def test_a_second_clone_pulls_everything(project: Project, storage: Path, tmp_path: Path) -> None:
    other = clone(project, tmp_path / "clone", storage)
    other.run("sh", "-c", PULL)
    made = project.made()
    assert "models/scratch/model.npz" in made
    assert other.made() == made
    assert "up to date" in other.dvc("status")


def test_a_second_clone_runs_only_what_changed(project: Project, storage: Path, tmp_path: Path) -> None:
    other = clone(project, tmp_path / "clone", storage)
    other.set({"train_scratch.learning_rate": "0.002"})
    assert sorted(stages_run(other.run("sh", "-c", REPRO).stdout)) == sorted(
        ["train_scratch", "evaluate@scratch", "compare", "plot"]
    )
    assert stages_run(other.run("sh", "-c", REPRO).stdout) == []


def test_a_second_clone_without_a_change_runs_nothing(project: Project, storage: Path, tmp_path: Path) -> None:
    other = clone(project, tmp_path / "clone", storage)
    assert stages_run(other.run("sh", "-c", REPRO).stdout) == []


def test_the_address_stays_out_of_git(project: Project) -> None:
    for command in (ADD_SSH, ADD_S3):
        project.run("sh", "-c", command.replace("add", "add --force"))
    assert not project.run("git", "status", "--porcelain").stdout
    assert "s3://bucket/path" in project.dvc("remote", "list")
