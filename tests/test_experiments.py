"""The README's section on experiments, command by command as it is written, and what its commands promise."""

import re
from pathlib import Path

import pytest

from tests.project import Project, stages_run, wait_until
from tests.readme import commands

pytestmark = pytest.mark.slow

SCREEN = 120  # columns
FINISHED = re.compile("(Success.*){4}Worker status: 0 active", re.DOTALL)  # a queue of four
AFTER_SCRATCH = ["compare", "evaluate@scratch", "plot", "train_scratch"]
AFTER_BOTH = sorted([*AFTER_SCRATCH, "train_torch", "evaluate@torch"])


@pytest.fixture
def made(project: Project) -> Project:
    """The project after `make`."""
    project.install()
    return project


def columns(table: str) -> int:
    return max(map(len, table.splitlines()))


def test_the_sections_run_as_they_are_written(made: Project) -> None:
    made.set({"network.batch_norm": "true"})
    outputs = {}
    for command in [*commands("README.md", "Experiment"), *commands("stages/README.md", "Experiments")]:
        outputs[command] = made.run("sh", "-c", command).stdout
        if command.startswith("dvc queue start"):
            wait_until(lambda: bool(FINISHED.search(made.dvc("queue", "status"))), pause=1)

    def output(beginning: str) -> str:
        (found,) = [text for command, text in outputs.items() if command.startswith(beginning)]
        return found

    assert sorted(stages_run(output("dvc repro"))) == AFTER_BOTH
    assert re.search(r"network\.batch_norm +False +True", output("dvc params diff"))
    assert "scratch.val_loss" in output("dvc metrics diff")
    [page] = re.findall("^file://(.*)$", output("make plots REVISIONS=HEAD"), re.MULTILINE)
    assert Path(page).exists()
    assert "the gate is open" in output("make gate")
    assert sorted(stages_run(output("dvc exp run --temp --name augmented"))) == AFTER_BOTH
    assert sorted(stages_run(output("dvc exp run --temp --name scratch-ema"))) == AFTER_SCRATCH
    assert output("dvc queue status").count("Success") == 4
    table = output("dvc exp show")
    assert {"augmented", *(f"grid-{number}" for number in range(1, 5))} <= set(re.findall(r"[\w-]+", table))
    assert columns(table) <= SCREEN
    assert all(column in table for column in ("torch.val ", "scratch.val ", "batch_norm", "augmentation.enabled"))
    assert "test" not in table
    applied = made.read("params.yaml").decode()
    assert "batch_norm: true " in applied
    assert "enabled: true " in applied
    repeated = [set(stages_run(made.dvc("queue", "logs", f"grid-{number}"))) <= {"fetch"} for number in range(1, 5)]
    assert repeated == [True, False, True, True]


def test_a_small_number_is_one_line_of_params_yaml_from_the_queue_to_the_workspace(project: Project) -> None:
    project.dvc("exp", "run", "--queue", "--name", "small", "evaluate@scratch", "-S", "optimizer.weight_decay=0.00001")
    project.dvc("exp", "run", "--run-all")
    project.dvc("exp", "apply", "small")
    difference = project.run("git", "diff", "--unified=0", "HEAD", "--", "params.yaml").stdout
    lines = re.findall(r"^[+-](?![+-])\s*(.*?) +#", difference, re.MULTILINE)
    assert lines == ["weight_decay: 0.1", "weight_decay: 1e-05"]
