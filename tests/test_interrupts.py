"""Signals at every stage and at random moments: nothing half-written, and `dvc repro` then ends as if undisturbed."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import Project, copy_project, wait_until

pytestmark = pytest.mark.slow

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
TARGETS = ("stage", "dvc", "group")
STAGES = (
    "fetch",
    "preprocess",
    "train_scratch",
    "evaluate@scratch",
    "train_torch",
    "evaluate@torch",
    "compare",
    "plot",
)

# Runs a stage, `-m stages.NAME ...`, that at one moment leaves its process id in a file and waits until that is gone.
STAGE_THAT_WAITS = """
import os, runpy, sys, time

moment, signpost = sys.argv[1:3]
waited = False

def wait(event, arguments):
    global waited
    if waited or event not in ("open", "os.rename"):
        return
    name = str(arguments[0])
    reached = {
        "reading": event == "open" and name.startswith(("params.yaml", "data/", "models/")),
        "writing": event == "open" and ".partial" in name,
        "installing": event == "os.rename" and ".partial" in name,
    }
    if reached[moment]:
        waited = True
        with open(signpost + ".new", "w") as file:
            file.write(str(os.getpid()))
        os.replace(signpost + ".new", signpost)
        while os.path.exists(signpost):
            time.sleep(0.01)

sys.argv = sys.argv[4:]
sys.path.insert(0, os.getcwd())
sys.addaudithook(wait)
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module", autouse=True)
def _interruptible() -> Iterator[None]:
    """A suite that was started in the background ignores SIGINT, and so would everything that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after an undisturbed `dvc repro`, committed."""
    project = copy_project(tmp_path_factory.mktemp("interrupts"))
    project.set({"train_scratch.epochs": "60"})
    project.dvc("repro")
    project.commit("Undisturbed run")
    return project


@pytest.fixture(scope="module")
def undisturbed(project: Project) -> dict[str, bytes]:
    return project.made()


def waiting_python(project: Project, moment: str, signpost: Path) -> dict[str, str]:
    script = project.folder.parent / "stage_that_waits.py"
    script.write_text(STAGE_THAT_WAITS, encoding="utf-8")
    return project.python(f"exec \"$PYTHON\" '{script}' {moment} '{signpost}' \"$@\"")


def process_number(signpost: Path, process: "subprocess.Popen[str]") -> int:
    """The stage's process id, once it has come to its moment."""
    wait_until(lambda: signpost.exists() or process.poll() is not None)
    assert signpost.exists(), process.communicate()[0]
    return int(signpost.read_text())


def send(number: int, target: str, stage: int, process: "subprocess.Popen[str]") -> None:
    if target == "group":
        os.killpg(process.pid, number)
    else:
        os.kill(stage if target == "stage" else process.pid, number)


def assert_nothing_is_half_written(project: Project, undisturbed: dict[str, bytes]) -> None:
    """Every file is as the undisturbed run left it or absent; history may hold the first epochs alone."""
    for name, content in project.made().items():
        if name.endswith("history.csv"):
            assert undisturbed[name].startswith(content), name
            assert content.endswith(b"\n")
        else:
            assert content == undisturbed[name], name
    assert ".partial" not in project.run("git", "status", "--porcelain", "--untracked-files=all").stdout


def assert_repro_ends_as_undisturbed(project: Project, undisturbed: dict[str, bytes]) -> None:
    output = project.dvc("repro")
    assert project.made() == undisturbed
    assert "Traceback" not in output


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_interrupted_leaves_nothing_half_written_and_runs_again(
    project: Project, undisturbed: dict[str, bytes], stage: str, tmp_path: Path
) -> None:
    """Each stage meets each signal and each target; over three stages every signal meets every target."""
    place = STAGES.index(stage)
    for turn, number in enumerate(SIGNALS):
        target = TARGETS[(place + turn) % 3]
        moment = ("reading", "writing", "installing")[(place // 3 + turn) % 3]
        signpost = tmp_path / f"{number}"
        environment = waiting_python(project, moment, signpost)
        command = ("dvc", "repro", "--force", "--single-item", stage)
        with project.started(*command, environment=environment) as process:
            send(number, target, process_number(signpost, process), process)
            if (number, target) == (signal.SIGINT, "dvc"):
                signpost.unlink()  # DVC lets its stage finish: a terminal's Ctrl-C goes to both
            output, _ = process.communicate(timeout=120)  # the stage holds this pipe too, so its end is its end
        assert "Traceback" not in output, output
        assert (process.returncode == 0) == ((number, target) == (signal.SIGINT, "dvc")), output
        assert_says_why(output, number, target)
        assert_nothing_is_half_written(project, undisturbed)
    assert_repro_ends_as_undisturbed(project, undisturbed)


def assert_says_why(output: str, number: int, target: str) -> None:
    """The stage's own lines: one, where it lived to say one."""
    interrupted = "error: interrupted; run `dvc repro` to begin this stage again"
    stopped = "error: stopped, because DVC was; run `dvc repro` to begin this stage again"
    expected = {
        "stage": [] if number == signal.SIGKILL else [interrupted],
        "dvc": [] if number == signal.SIGINT else [stopped],
        "group": [] if number == signal.SIGKILL else [interrupted],
    }[target]
    assert re.findall(r"^error: .*$", output, re.MULTILINE) == expected, output


@pytest.fixture(scope="module")
def training_seconds(project: Project) -> float:
    """How long train_scratch goes on after its first epoch."""
    with project.started(sys.executable, "-m", "stages.train_scratch") as process:
        wait_for_the_first_epoch(process)
        started = time.monotonic()
        process.communicate(timeout=120)
    return time.monotonic() - started


def wait_for_the_first_epoch(process: "subprocess.Popen[str]") -> None:
    assert process.stdout
    for line in process.stdout:
        if line.startswith("epoch 1/"):
            return
    raise AssertionError("training ended before its first epoch")


@pytest.mark.parametrize("turn", range(20))
def test_training_may_be_interrupted_at_any_moment(
    project: Project, undisturbed: dict[str, bytes], training_seconds: float, turn: int, tmp_path: Path
) -> None:
    number, target = SIGNALS[turn % 3], TARGETS[turn // 3 % 3]
    environment = project.python(f'echo $$ > \'{tmp_path}/process\'\nexec "$PYTHON" "$@"')
    command = ("dvc", "repro", "--force", "--single-item", "train_scratch")
    with project.started(*command, environment=environment) as process:
        wait_for_the_first_epoch(process)
        time.sleep(random.Random(turn).uniform(0, training_seconds))
        try:
            send(number, target, int((tmp_path / "process").read_text()), process)
        except ProcessLookupError:
            assert target == "stage"  # it had ended: on a busy machine moments differ
        output, _ = process.communicate(timeout=120)
    assert "Traceback" not in output, output
    assert_nothing_is_half_written(project, undisturbed)
    assert_repro_ends_as_undisturbed(project, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_whose_dvc_was_killed_stops_before_the_next_run_can_begin(
    project: Project, undisturbed: dict[str, bytes], number: int
) -> None:
    project.set({"train_scratch.epochs": "10000", "train_scratch.schedule": "constant"})
    try:
        with project.started("dvc", "repro", "train_scratch") as process:
            wait_for_the_first_epoch(process)
            os.kill(process.pid, number)
            process.wait(timeout=60)
            project.run("git", "checkout", "--quiet", "params.yaml")
            project.dvc("repro")
            output, _ = process.communicate(timeout=60)  # the end of the pipe: the stage has ended as well
        assert output.endswith("error: stopped, because DVC was; run `dvc repro` to begin this stage again\n")
        assert project.made() == undisturbed
    finally:
        project.run("git", "checkout", "--quiet", "params.yaml")


def test_a_second_run_of_a_stage_waits_for_the_first(
    project: Project, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """As when DVC was killed under a shell that stays behind, so that the stage does not see it."""
    signpost = tmp_path / "signpost"
    environment = waiting_python(project, "installing", signpost)
    command = ("python", "-m", "stages.train_scratch")
    with project.started(*command, environment=environment) as first:
        process_number(signpost, first)
        with project.started(*command) as second:
            assert second.stdout
            assert second.stdout.readline() == "waiting for another run of this stage to end\n"
            assert second.poll() is None
            signpost.unlink()
            second.communicate(timeout=120)
        first.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (0, 0)
    assert project.made() == undisturbed
    project.dvc("repro")


def test_a_stage_run_by_hand_outlives_its_shell(
    project: Project, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    signpost = tmp_path / "signpost"
    environment = waiting_python(project, "installing", signpost)
    with project.started("sh", "-c", "python -m stages.train_scratch & wait", environment=environment) as process:
        process_number(signpost, process)
        process.kill()
        process.wait(timeout=60)
        time.sleep(0.6)  # time to notice, three times over
        signpost.unlink()
        output, _ = process.communicate(timeout=120)
    assert "error:" not in output
    assert project.made() == undisturbed
    project.dvc("repro")
