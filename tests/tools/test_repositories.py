"""The tools wherever git has the project: in a folder of a repository, in other kinds of checkout, or not at all."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.project import GIT, Project, copy_project

TOOLS = ("gate", "quick", "reproduce", "results")
FOLDER = "Kurs ü/some [folder]/MNIST é"


def run_tool(project: Project, tool: str, status: int = 0) -> str:
    done = project.run("python", "-m", f"stages.tools.{tool}", check=False)
    assert done.returncode == status, done.stdout
    return done.stdout


def move_into_repository(finished: Project, repository: Path) -> Project:
    """The finished project, committed into a folder of another repository."""
    subprocess.run(["git", "init", "--quiet", repository], check=True)
    (repository / "another project").write_text("of somebody\n")
    shutil.copytree(finished.folder, repository / FOLDER, ignore=shutil.ignore_patterns(".git"))
    project = Project(repository / FOLDER)
    Project(repository).commit("Everything")
    return project


@pytest.mark.slow
def test_in_a_folder_of_a_repository_every_tool_works_as_in_a_repository_of_its_own(
    finished: Project, tmp_path: Path
) -> None:
    project = move_into_repository(finished, tmp_path / "repository")
    (tmp_path / "repository/another project").write_text("changed\n")
    assert run_tool(project, "results") == "results identical to the committed ones\n"
    assert run_tool(project, "gate").endswith("\nthe gate is open: no accuracy has fallen\n")
    project.set({"scratch.optimizer.learning_rate": "0.02"})
    (project.folder / "stages/evaluation/größe.py").write_text("")
    assert "scratch (params.yaml: scratch modified)" in run_tool(project, "gate", status=1)
    changes = project.status()
    quick = run_tool(project, "quick")
    assert "epoch 1/1" in quick
    assert re.search(r"^metrics/scratch.json +accuracy +[\d.]+ +[\d.]+", quick, re.MULTILINE)
    assert project.status() == changes
    project.dvc("repro")
    assert run_tool(project, "results").startswith(
        "results differ from the committed ones: data/filters/scratch.npy, data/predictions/scratch.npy, metrics/"
    )
    page = project.run("python", "-m", "stages.tools.report", "HEAD").stdout.splitlines()[-1]
    assert page == (project.folder / "dvc_plots/index.html").as_uri()
    metrics = project.load_json("metrics/torch.json")
    (project.folder / "metrics/torch.json").write_text(json.dumps({**metrics, "accuracy": 2.0}), encoding="utf-8")
    project.dvc("commit", "--force")
    project.commit("A forged accuracy")
    reproduced = run_tool(project, "reproduce", status=1)
    report = dict(re.findall(r"^(\S+/\S+) +(.+)$", reproduced.partition("computed again\n")[2], re.MULTILINE))
    assert {name: line for name, line in report.items() if line != "identical"} == {
        "metrics/torch.json": f"differs first in accuracy: {metrics['accuracy']} instead of 2.0; "
        f"largest difference {2 - metrics['accuracy']:.3g}"
    }
    assert report.keys() >= {"data/raw", "models/scratch/model.npz", "plots/images"}


@pytest.mark.slow
def test_in_a_linked_worktree_with_a_detached_head_of_a_shallow_clone_every_tool_works(
    finished: Project, tmp_path: Path
) -> None:
    finished.run("git", "clone", "--quiet", "--depth=1", finished.folder.as_uri(), str(tmp_path / "shallow"))
    shallow, tree = Project(tmp_path / "shallow"), Project(tmp_path / "linked tree")
    shallow.run("git", "worktree", "add", "--quiet", "--detach", str(tree.folder))
    assert run_tool(tree, "results").startswith("results ")
    assert run_tool(tree, "gate").endswith("\nthe gate is open: no accuracy has fallen\n")
    assert run_tool(tree, "reproduce").endswith("\nresults identical to the committed ones\n")
    assert "Running stage 'fetch'" in run_tool(tree, "quick")
    assert "Running stage" not in run_tool(tree, "quick")  # the first has left everything in the cache
    assert tree.status() == ""
    assert shallow.run("git", "stash", "list").stdout == ""


def remove_repository(project: Project) -> str:
    shutil.rmtree(project.folder / ".git")
    return "not a git repository (or any of the parent directories): .git"


def replace_by_unrelated_repository(project: Project) -> str:
    shutil.rmtree(project.folder / ".git")
    outer = Project(project.folder.parent)
    outer.run(*GIT, "init", "--quiet")
    outer.run(*GIT, "commit", "--quiet", "--allow-empty", "--message", "Unrelated")
    return f"HEAD of {outer.folder} has no project/dvc."


def start_repository(project: Project) -> str:
    shutil.rmtree(project.folder / ".git")
    project.run(*GIT, "init", "--quiet")
    return "nothing is committed yet"


def remove_from_head(project: Project) -> str:
    project.run("git", "rm", "--quiet", "--cached", "dvc.lock", "dvc.yaml")
    project.run(*GIT, "commit", "--quiet", "--message", "No results")
    return f"HEAD of {project.folder} has no dvc."


@pytest.mark.parametrize(
    "change", [remove_repository, replace_by_unrelated_repository, start_repository, remove_from_head]
)
def test_without_committed_results_each_tool_says_so_in_one_line(
    change: Callable[[Project], str], tmp_path: Path
) -> None:
    (tmp_path / "project").mkdir()
    project = copy_project(tmp_path / "project")
    reason = f"no committed results to compare with: {change(project)}"
    for tool in TOOLS:
        line = run_tool(project, tool, status=0 if tool == "results" else 1)
        assert line.count("\n") == 1
        assert line.startswith(reason if tool == "results" else f"error: {reason}")
