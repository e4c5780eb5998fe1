"""Two runs of the pipeline at the same time: each is right, or is refused in words."""

import re
from contextlib import ExitStack
from pathlib import Path

import dvc.api
import pytest

from tests.project import Project, output_of, wait_until

pytestmark = pytest.mark.slow

REFUSALS = ("Unable to acquire lock", "is busy, it is being blocked by")


def test_two_repros_in_one_clone_end_right_or_are_refused(project: Project) -> None:
    project.set({"training.epochs": "40"})  # long enough to be overtaken
    command = ("dvc", "repro", "evaluate@scratch")
    with ExitStack() as running:
        processes = [running.enter_context(project.started(*command)) for _ in range(2)]
        outputs = [output_of(process) for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert "Traceback" not in output, output
        assert process.returncode == 0 or any(refusal in output for refusal in REFUSALS), output
    assert 0 in [process.returncode for process in processes], outputs
    together = project.outputs()
    project.dvc("repro", "--force", "evaluate@scratch")
    assert project.outputs() == together


def test_a_repro_while_a_stage_runs_is_refused_and_disturbs_nothing(project: Project, tmp_path: Path) -> None:
    alone = project.outputs()
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
    assert project.outputs() == alone


def test_runs_in_different_folders_do_not_wait_for_each_other(project: Project) -> None:
    """Queued experiments with two workers, whose results are those of runs by themselves."""
    rates = ("0.001", "0.01")
    for rate in rates:
        change = f"optimizer.learning_rate={rate}"
        project.dvc("exp", "run", "--queue", "--name", f"rate-{rate[2:]}", "--set-param", change, "evaluate@scratch")
    try:
        project.dvc("queue", "start", "--jobs", "2")
        wait_until(lambda: not re.search("Queued|Running", project.dvc("queue", "status").split("Worker")[0]), pause=1)
        status = project.dvc("queue", "status")
        assert status.count("Success") == 2, status
    finally:
        project.dvc("queue", "stop", "--kill")
    for rate in rates:
        project.set({"optimizer.learning_rate": rate})
        project.run("python", "-m", "stages.train", "scratch")
        project.run("python", "-m", "stages.evaluate", "scratch")
        queued = dvc.api.read("metrics/scratch.json", repo=str(project.folder), rev=f"rate-{rate[2:]}")
        assert queued.encode() == project.read("metrics/scratch.json")
