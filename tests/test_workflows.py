"""GitHub's workflows: free of mistakes that a linter finds, and their own shell run as it is written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.imports import ROOT
from tests.project import Project

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def lint(tool: str, *arguments: str) -> None:
    program = shutil.which(tool, path=PATH)
    if not program:
        pytest.skip(f"{tool} is not installed: pip install '.[workflows]'")
    done = subprocess.run(
        [program, *arguments], cwd=ROOT, env={**os.environ, "PATH": PATH}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_nothing_in_the_workflows() -> None:
    """In the fork that PyPI has with its program; it asks shellcheck about their shell, where that is installed."""
    lint("jactionlint", "--profile", "correctness", "--strict-exit", *map(str, WORKFLOWS))


def test_shellcheck_finds_nothing_in_what_ci_runs() -> None:
    lint("shellcheck", "--severity", "warning", ".ci/run")


def jobs(workflow: str) -> dict[str, Any]:
    content = YAML(typ="safe", pure=True).load(ROOT / f".github/workflows/{workflow}.yml")
    found: dict[str, Any] = content["jobs"]
    return found


def test_no_job_may_write_but_the_one_that_publishes_and_none_runs_for_ever() -> None:
    for path in WORKFLOWS:
        assert YAML(typ="safe", pure=True).load(path)["permissions"] == {"contents": "read"}
    every = {name: job for path in WORKFLOWS for name, job in jobs(path.stem).items()}
    assert {name for name, job in every.items() if "permissions" in job} == {"publish"}
    assert all(job["timeout-minutes"] <= 90 for job in every.values())


@pytest.mark.slow
def test_the_summary_shows_what_changed_since_the_commit_before(project: Project, tmp_path: Path) -> None:
    [script] = [step["run"] for step in jobs("check")["metrics"]["steps"] if "env" in step]
    project.set({"scratch.network.hidden_sizes": "[24]"})
    project.dvc("repro")
    project.commit("A wider network")

    def summary(before: str) -> str:
        file = tmp_path / "summary"
        file.write_text("", encoding="utf-8")
        environment = {"BEFORE": before, "GITHUB_STEP_SUMMARY": str(file)}
        project.run("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script, environment=environment)
        return file.read_text(encoding="utf-8")

    *_, before, head = project.run("git", "rev-list", "--reverse", "HEAD").stdout.split()
    compared = summary(before)
    assert f"### Params since {before[:7]}\n\n| Path " in compared
    assert re.search(r"\| params.yaml +\| scratch.network.hidden_sizes +\| \[16\] +\| \[24\] +\|", compared)
    assert f"### Metrics since {before[:7]}\n\n| Path " in compared
    assert re.search(r"\| metrics/scratch.json +\| parameters +\|", compared)
    first_push = summary("0" * 40)
    assert sorted(first_push.splitlines()) == sorted(compared.splitlines())  # DVC's order of files varies
    assert not re.search(r"\.(yaml|json)", summary(head))  # two tables without a row
