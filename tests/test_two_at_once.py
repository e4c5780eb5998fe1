"""Two runs of the pipeline at the same time: each is right, or is refused in words."""

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.project import Project, copy_project, output_of, wait_until

pytestmark = pytest.mark.slow

LEARNING_RATES = ("0.001", "0.002", "0.004", "0.008")
REFUSALS = ("Unable to acquire lock", "is busy, it is being blocked by")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The project before its first run, trained for long enough to be overtaken."""
    (tmp_path / "project").mkdir()
    project = copy_project(tmp_path / "project")
    project.set({"train_scratch.epochs": "60"})
    project.commit("More epochs")
    return project


def test_two_repros_in_one_clone_end_right_or_are_refused(project: Project) -> None:
    command = ("dvc", "repro", "evaluate@scratch")
    with ExitStack() as running:
        processes = [running.enter_context(project.started(*command)) for _ in range(2)]
        outputs = [output_of(process) for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert "Traceback" not in output, output
        assert process.returncode == 0 or any(refusal in output for refusal in REFUSALS), output
    assert 0 in [process.returncode for process in processes], outputs
    together = project.made()
    project.dvc(*command[1:])
    assert project.made() == together
    project.dvc("repro", "--force", "evaluate@scratch")
    assert project.made() == together


def test_a_repro_while_a_stage_runs_is_refused_and_disturbs_nothing(project: Project, tmp_path: Path) -> None:
    project.dvc("repro", "evaluate@scratch")
    alone = project.made()
    holding = tmp_path / "holding"
    waiting = project.python(
        f"touch '{holding}'\nwhile [ -e '{holding}' ]; do sleep 0.05; done\nexec \"$PYTHON\" \"$@\""
    )
    again = ("dvc", "repro", "--force", "--single-item", "train_scratch")
    with project.started(*again, environment=waiting) as first:
        wait_until(holding.exists)
        second = project.run(*again, check=False)
        holding.unlink()
        output_of(first)
    assert second.returncode != 0
    assert "is busy, it is being blocked by" in second.stdout
    assert "Traceback" not in second.stdout
    assert first.returncode == 0
    assert project.made() == alone


def experiments(project: Project) -> dict[float, Any]:
    """The scratch metrics of each experiment by its learning rate."""
    found = {}
    (baseline, *_) = [
        revision for revision in json.loads(project.dvc("exp", "show", "--json")) if revision["experiments"]
    ]
    for experiment in baseline["experiments"]:
        (revision,) = experiment["revs"]
        rate = revision["data"]["params"]["params.yaml"]["data"]["train_scratch"]["learning_rate"]
        found[rate] = json.loads(project.run("git", "show", f"{revision['rev']}:metrics/scratch.json").stdout)
    return found


def test_four_queued_experiments_with_two_workers_are_those_run_alone(project: Project) -> None:
    project.dvc("repro", "evaluate@scratch")
    project.commit("First run")
    try:
        for rate in LEARNING_RATES:
            change = f"train_scratch.learning_rate={rate}"
            project.dvc("exp", "run", "--queue", "--set-param", change, "evaluate@scratch")
        project.dvc("queue", "start", "--jobs", "2")
        wait_until(lambda: not re.search("Queued|Running", project.dvc("queue", "status").split("Worker")[0]), pause=1)
        status = project.dvc("queue", "status")
        assert status.count("Success") == 4, status
    finally:
        project.dvc("queue", "stop", "--kill")
    queued = experiments(project)
    for rate in LEARNING_RATES:
        project.set({"train_scratch.learning_rate": rate})
        project.run("python", "-m", "stages.train_scratch")
        project.run("python", "-m", "stages.evaluate", "scratch")
        assert queued[float(rate)] == json.loads(project.read("metrics/scratch.json"))
    assert len({metrics["loss"] for metrics in queued.values()}) == 4
    wait_until(lambda: "0 active, 0 idle" in project.dvc("queue", "status"), pause=1)
