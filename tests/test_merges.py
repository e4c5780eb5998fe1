"""Branches that both ran: the README's commands for a merge, as they are written, end as a run from scratch."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.project import GIT, Project
from tests.readme import commands

pytestmark = pytest.mark.slow

MERGE, TAKE_A_SIDE, REPRO, ADD, COMMIT = commands("stages/README.md", "Merge")
IDENTITY = {f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
OURS = {"scratch.network.hidden_sizes": "[24]"}
THEIRS = {"scratch.optimizer": "{learning_rate: 0.02}"}


def shell(project: Project, command: str, *, check: bool = True) -> str:
    return project.run("sh", "-c", command.replace("BRANCH", "theirs"), check=check, environment=IDENTITY).stdout


def run(project: Project, branch: str, config: Mapping[str, str]) -> None:
    project.run("git", "checkout", "--quiet", "-b", branch, "base")
    project.dvc("checkout")
    project.set(config)
    project.dvc("repro")
    project.commit(branch)


@pytest.fixture(scope="module")
def branches(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two branches with different values in different lines of params.yaml, both run and committed."""
    project = finished.copy(tmp_path_factory.mktemp("branches") / "project")
    project.run("git", "tag", "base")
    run(project, "theirs", THEIRS)
    (project.folder / "metrics/seeds.json").write_text('{"measured": "by theirs alone"}\n', encoding="utf-8")
    project.commit("A measurement that no stage makes")
    run(project, "ours", OURS)
    return project


@pytest.fixture(scope="module")
def from_scratch(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a clone without any cache makes of both branches' values."""
    project = finished.clone(tmp_path_factory.mktemp("scratch") / "project")
    project.set(OURS | THEIRS)
    project.dvc("repro")
    return made(project)


@pytest.fixture
def project(branches: Project, tmp_path: Path) -> Project:
    return branches.copy(tmp_path / "project")


def made(project: Project) -> dict[str, bytes]:
    outputs = project.outputs() | {"dvc.lock": project.read("dvc.lock")}
    return {name: content for name, content in outputs.items() if name != "metrics/seeds.json"}


def conflicts(project: Project) -> list[str]:
    return project.run("git", "diff", "--name-only", "--diff-filter=U").stdout.splitlines()


@pytest.mark.parametrize("side", ["--ours", "--theirs"])
def test_either_side_of_a_conflict_and_a_repro_give_what_a_run_from_scratch_gives(
    project: Project, from_scratch: dict[str, bytes], side: str
) -> None:
    shell(project, MERGE, check=False)
    assert {"dvc.lock", "metrics/scratch.json", "plots/images/curves.png"} <= set(conflicts(project))
    assert "params.yaml" not in conflicts(project)
    for command in (TAKE_A_SIDE.replace("--ours", side), REPRO, ADD, COMMIT):
        shell(project, command)
    assert made(project) == from_scratch
    assert b"by theirs alone" in project.read("metrics/seeds.json")
    assert project.status() == ""
    assert "up to date" in project.dvc("status")
    assert len(project.run("git", "log", "-1", "--format=%p").stdout.split()) == 2


def test_a_rebase_takes_the_same_commands(project: Project, from_scratch: dict[str, bytes]) -> None:
    """In it, ours is the other branch: it does as well."""
    assert "CONFLICT" in shell(project, MERGE.replace("merge", "rebase"), check=False)
    for command in (TAKE_A_SIDE, REPRO, ADD, "GIT_EDITOR=true git rebase --continue"):
        shell(project, command)
    assert made(project) == from_scratch
    assert b"by theirs alone" in project.read("metrics/seeds.json")
    assert project.status() == ""


def test_a_conflict_in_params_yaml_is_named_until_it_is_resolved(
    project: Project, from_scratch: dict[str, bytes]
) -> None:
    project.set({"scratch.optimizer": "{learning_rate: 0.01}"})
    project.dvc("repro")
    project.commit("The same key, another value")
    shell(project, MERGE, check=False)
    assert "params.yaml" in conflicts(project)
    shell(project, TAKE_A_SIDE)
    refused = project.run("sh", "-c", REPRO, check=False)
    assert refused.returncode
    assert "unable to read: 'params.yaml', YAML file structure is corrupted" in refused.stdout
    resolved = project.run("git", "show", "theirs:params.yaml").stdout
    (project.folder / "params.yaml").write_text(resolved, encoding="utf-8")
    project.set(OURS)
    for command in (REPRO, ADD, COMMIT):
        shell(project, command)
    assert made(project) == from_scratch
    assert project.status() == ""


def test_a_result_that_one_branch_deleted_is_removed_first(project: Project, from_scratch: dict[str, bytes]) -> None:
    project.run("git", "rm", "--quiet", "plots/scratch/confusions.csv")
    project.run(*GIT, "commit", "--quiet", "--message", "Without a table")
    shell(project, MERGE, check=False)
    refused = project.run("sh", "-c", TAKE_A_SIDE, check=False).stdout
    assert refused == "error: path 'plots/scratch/confusions.csv' does not have our version\n"
    project.run("git", "rm", "--quiet", "plots/scratch/confusions.csv")
    for command in (TAKE_A_SIDE, REPRO, ADD, COMMIT):
        shell(project, command)
    assert made(project) == from_scratch
    assert project.status() == ""
