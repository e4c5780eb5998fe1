"""The gate of `make gate`, on committed metrics and changed ones."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from stages.tools import gate
from tests.project import Project, copy_project

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
    gate.main()
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
    project: Project, change: Change, changes: Callable[[Metrics], Metrics], message: str
) -> None:
    change(changes)
    result = project.run(sys.executable, "-m", "stages.tools.gate", check=False)
    assert result.returncode == 1
    assert message in result.stdout.splitlines()[-1]
    assert "Traceback" not in result.stdout
