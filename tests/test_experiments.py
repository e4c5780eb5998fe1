"""The README's section on experiments, command by command as it is written, and what its commands promise."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.imports import ROOT
from tests.project import Project, copy_project, stages_run, wait_until
from tests.readme import commands

pytestmark = pytest.mark.slow

SCREEN = 120  # columns
CHANGED = ["train_scratch", "evaluate@scratch", "compare", "plot"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after `make`, committed."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    project.dvc("repro")
    project.commit("First run")
    (project.folder / ".venv").mkdir()
    (project.folder / ".venv/installed").touch()  # for make: this Python has everything
    return project


def columns(table: str) -> int:
    return max(map(len, table.splitlines()))


def test_the_metrics_fit_a_screen(project: Project, tmp_path: Path) -> None:
    """Those of this small run, the committed ones, and numbers that are as long as such numbers get."""
    assert "torch.accuracy" in project.dvc("metrics", "show")
    assert columns(project.dvc("metrics", "show")) <= SCREEN
    committed = Project(tmp_path / "clone")
    project.run("git", "clone", "--quiet", ROOT.as_posix(), committed.folder.as_posix())
    assert columns(committed.dvc("metrics", "show")) <= SCREEN
    path = committed.folder / "metrics/summary.json"
    summary = json.loads(path.read_bytes())
    longest = {"accuracy": 0.123456, "loss": 12.3456}
    path.write_text(json.dumps({**summary, "torch": longest, "scratch": longest, "difference": -0.123456}))
    assert columns(committed.dvc("metrics", "show")) <= SCREEN


def test_the_section_runs_as_it_is_written(project: Project) -> None:
    project.set({"train_scratch.learning_rate": "0.002"})
    outputs = {}
    for command in commands("Experimenting"):
        outputs[command] = project.run("sh", "-c", command).stdout
        if command.startswith("dvc queue start"):
            wait_until(lambda: not re.search("Running|Queued", project.dvc("queue", "status")), 300)

    def output(beginning: str) -> str:
        (found,) = [text for command, text in outputs.items() if command.startswith(beginning)]
        return found

    assert sorted(stages_run(output("dvc repro"))) == sorted(CHANGED)
    assert re.search(r"learning_rate +\S+ +0\.002", output("dvc params diff"))
    assert "scratch.loss" in output("dvc metrics diff")
    assert "not below" in output("make gate")
    assert sorted(stages_run(output("dvc exp run --name"))) == sorted(CHANGED)
    assert output("dvc queue status").count("Success") == 4
    table = output("dvc exp show")
    assert {"faster", *(f"grid-{number}" for number in range(1, 5))} <= set(re.findall(r"[\w-]+", table))
    assert columns(table) <= SCREEN
    assert "scratch.accuracy" in table
    applied = project.read("params.yaml").decode().partition("train_scratch:")[2]
    assert "optimizer: adam\n" in applied
    assert "learning_rate: 0.001\n" in applied
    project.run("git", "checkout", "--quiet", ".")
    project.dvc("checkout")


@pytest.mark.parametrize("engine", ["torch", "scratch"])
@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        (lambda m: {"accuracy": m["accuracy_low"]}, 0, "not below"),
        (lambda m: {"accuracy": m["accuracy_low"] - 1e-4}, 1, "has fallen by more than chance explains"),
        (lambda _: {"accuracy": 1.0}, 0, "not below"),
        (lambda _: {"dataset": "KMNIST from directory"}, 1, "tested on KMNIST from directory, HEAD on synthetic"),
        (lambda _: {"accuracy": "damaged"}, 1, "damaged; make it again with"),
    ],
)
def test_the_gate_is_shut_when_accuracy_leaves_the_interval(
    project: Project, engine: str, change: Callable[[dict[str, Any]], dict[str, Any]], status: int, sentence: str
) -> None:
    path = project.folder / f"metrics/{engine}.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | change(json.loads(before))))
    result = project.run("make", "gate", check=False)
    path.write_text(before)
    assert bool(result.returncode) == bool(status)
    assert sentence in result.stdout
    assert "Traceback" not in result.stdout


def test_a_quick_run_takes_new_code_along_and_leaves_the_results_alone(project: Project) -> None:
    new = project.folder / "stages/pipeline/greeting.py"
    new.write_text('GREETING = "greetings from a new file"\n')
    compare = project.folder / "stages/compare.py"
    compare.write_text(f"from stages.pipeline.greeting import GREETING\n\nprint(GREETING)\n{compare.read_text()}")
    before, state = project.made(), project.run("git", "status", "--porcelain").stdout
    output = project.run("make", "quick").stdout
    assert "greetings from a new file" in output
    assert "compare" in stages_run(output)
    assert re.search(r"torch\.accuracy +[\d.]+ +[\d.]+", output)
    assert project.made() == before
    assert project.run("git", "status", "--porcelain").stdout == state
    assert "greetings" in project.run("make", "quick").stdout  # again
    project.run("git", "checkout", "--quiet", ".")
    new.unlink()


def test_a_quick_run_trains_for_less_than_15_seconds() -> None:
    """By the speed that the committed run had, on 55,000 digits."""
    epochs = re.findall(r"train_(\w+)\.epochs=(\d+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    speeds = {
        engine: json.loads((ROOT / f"metrics/timing_{engine}.json").read_text())["images_per_second"]
        for engine, _ in epochs
    }
    assert set(speeds) == {"torch", "scratch"}
    assert sum(55_000 * int(number) / speeds[engine] for engine, number in epochs) < 15
