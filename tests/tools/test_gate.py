"""The gate of `make gate`, on committed metrics and changed ones."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.engines import ENGINES
from stages.pipeline.errors import PipelineError
from stages.tools import gate
from tests.project import Project, copy_project, line_of, output_of

Metrics = dict[str, Any]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The committed results; nothing is run."""
    return copy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(params=["torch", "scratch"])
def change(request: pytest.FixtureRequest, project: Project, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that changes the metrics of one engine in the workspace until the test ends."""
    monkeypatch.chdir(project.folder)
    path = project.folder / f"metrics/{request.param}.json"
    before = path.read_text()
    yield lambda changes: path.write_text(json.dumps(json.loads(before) | changes(json.loads(before))))
    path.write_text(before)


Change = Callable[[Callable[[Metrics], Metrics]], None]


@pytest.mark.parametrize("accuracy", [lambda m: m["accuracy"], lambda m: m["accuracy_low"], lambda _: 1.0])
def test_the_gate_stays_open_while_accuracy_is_in_the_interval_or_above(
    change: Change, accuracy: Callable[[Metrics], float], capsys: pytest.CaptureFixture[str]
) -> None:
    change(lambda metrics: {"accuracy": accuracy(metrics)})
    gate.compare()
    assert capsys.readouterr().out.count("not below") == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda m: {"accuracy": m["accuracy_low"] - 1e-4}, "has fallen by more than chance explains"),
        (lambda _: {"dataset": "KMNIST"}, "evaluated on KMNIST, HEAD on MNIST"),
        (lambda _: {"accuracy": "damaged"}, "damaged; make it again with `dvc repro --force evaluate@"),
    ],
    ids=["fallen", "another dataset", "damaged"],
)
def test_the_gate_is_shut_with_one_line_that_says_why(
    change: Change, changes: Callable[[Metrics], Metrics], message: str
) -> None:
    change(changes)
    with pytest.raises((SystemExit, PipelineError), match=message):
        gate.compare()


def test_an_engine_that_is_not_in_head_has_nothing_to_be_compared_with(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.setitem(ENGINES, "softmax", Path("models/softmax/model.npy"))
    (project.folder / "metrics/softmax.json").write_bytes(project.read("metrics/torch.json"))
    gate.compare()
    assert "softmax: accuracy 98.66%, not in HEAD: nothing to compare with\n" in capsys.readouterr().out


def run_gate(project: Project) -> tuple[int, str]:
    """Its exit status and its last line."""
    done = project.run("python", "-m", "stages.tools.gate", check=False)
    return done.returncode, done.stdout.splitlines()[-1]


SHUT = "error: the results are not those of the workspace, run `dvc repro`: "


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 3], ids=["before its first epoch", "after an epoch"])
def test_after_an_interrupted_training_the_gate_is_shut_until_it_is_run_again(
    finished: Project, tmp_path: Path, epoch: int
) -> None:
    """The metrics, and all that dvc.lock says of them, are those of the run before."""
    project = finished.copy(tmp_path / "project")
    project.set({"training.epochs": "20"})
    project.dvc("repro", "compare")
    project.commit("Longer training")
    with project.started("dvc", "repro", "--force", "--single-item", "train_scratch") as process:
        line_of(process, f"epoch {epoch}/" if epoch else "Running stage 'train_scratch'")
        os.killpg(process.pid, signal.SIGINT)
        output_of(process)
    status, line = run_gate(project)
    state = "modified" if epoch else "deleted"
    assert (status, line.split(", compare (")[0]) == (1, f"{SHUT}train_scratch (plots/scratch/history.csv {state})")
    project.dvc("repro")
    assert run_gate(project)[0] == 0


def test_the_gate_works_in_a_fresh_clone_and_is_shut_by_whatever_is_not_of_the_committed_run(
    finished: Project, tmp_path: Path
) -> None:
    clone = finished.clone(tmp_path / "clone")
    assert run_gate(clone)[0] == 0
    clone.set({"training.epochs": "2"})
    (clone.folder / "metrics/parity.json").unlink()
    with (clone.folder / "stages/compare.py").open("a") as file:
        file.write("# a comment")
    expected = (
        "train_torch (params.yaml: training modified), train_scratch (params.yaml: training modified), "
        "compare (stages/compare.py modified) and 1 more"
    )
    assert run_gate(clone) == (1, f"{SHUT}{expected}")
