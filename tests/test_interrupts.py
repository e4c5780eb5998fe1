"""Signals at every stage and at random moments: nothing half-written, and `dvc repro` then ends as if undisturbed."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.project import PATIENCE, Project, copy_project, line_of, output_of, wait_until

pytestmark = pytest.mark.slow

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
TARGETS = ("stage", "dvc", "group")
MOMENTS = ("importing", "reading", "writing", "installing")
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
    if waited or event not in ("import", "open", "os.rename"):
        return
    name = str(arguments[0])
    reached = {
        "importing": event == "import" and name == "numpy",
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

stage = sys.argv[4]
sys.argv = ["-m", *sys.argv[5:]]  # as Python has it until the stage is found
sys.path.insert(0, os.getcwd())
sys.addaudithook(wait)
runpy.run_module(stage, run_name="__main__", alter_sys=True)
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


@pytest.fixture(scope="module")
def copies(project: Project, undisturbed: dict[str, bytes]) -> dict[str, Project]:
    """The project and twins of it, one for each target: three stages at once make the most of two cores."""
    copies = {TARGETS[0]: project}
    for target in TARGETS[1:]:
        copies[target] = Project(project.folder.with_name(f"{project.folder.name}-{target}"))
        shutil.copytree(project.folder, copies[target].folder)
        assert copies[target].made() == undisturbed
    return copies


def waiting_python(project: Project, moment: str, signpost: Path) -> dict[str, str]:
    script = project.folder.parent / "stage_that_waits.py"
    script.write_text(STAGE_THAT_WAITS, encoding="utf-8")
    return project.python(f"exec \"$PYTHON\" '{script}' {moment} '{signpost}' \"$@\"")


def process_number(signpost: Path, process: "subprocess.Popen[str]") -> int:
    """The stage's process id, once it has come to its moment."""
    wait_until(lambda: signpost.exists() or process.poll() is not None)
    assert signpost.exists(), output_of(process)
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


def assert_repro_ends_as_undisturbed(projects: list[Project], undisturbed: dict[str, bytes]) -> None:
    with ExitStack() as running:
        for process in [running.enter_context(project.started("dvc", "repro")) for project in projects]:
            output = output_of(process)
            assert process.returncode == 0, output
            assert "Traceback" not in output, output
    for project in projects:
        assert project.made() == undisturbed


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_interrupted_leaves_nothing_half_written_and_runs_again(
    copies: dict[str, Project], undisturbed: dict[str, bytes], stage: str, number: signal.Signals, tmp_path: Path
) -> None:
    """The signal meets the stage, its DVC and both, each in a copy of its own and at a moment of its own.

    Every stage meets the nine pairs of signal and target at all four moments; every pair meets each moment twice.
    """
    again = ("dvc", "repro", "--force", "--single-item", stage)
    with ExitStack() as running:
        started = {}
        for target, copy in copies.items():
            environment = waiting_python(copy, moment_of(stage, number, target), tmp_path / target)
            started[target] = running.enter_context(copy.started(*again, environment=environment))
        for target, process in started.items():
            send(number, target, process_number(tmp_path / target, process), process)
        for target, process in started.items():
            if target == "dvc" and (number == signal.SIGINT or moment_of(stage, number, target) == "importing"):
                # DVC lets its stage finish, as a terminal's Ctrl-C goes to both; and imports end before a stage begins.
                (tmp_path / target).unlink()
            output = output_of(process)  # the stage holds this pipe too, so its end is its end
            assert "Traceback" not in output, output
            assert (process.returncode == 0) == ((number, target) == (signal.SIGINT, "dvc")), output
            assert_says_why(output, number, target)
    for copy in copies.values():
        assert_nothing_is_half_written(copy, undisturbed)
    assert_repro_ends_as_undisturbed([*copies.values()], undisturbed)


def moment_of(stage: str, number: signal.Signals, target: str) -> str:
    turn = 3 * SIGNALS.index(number) + TARGETS.index(target) + STAGES.index(stage)
    return MOMENTS[turn % len(MOMENTS)]


def test_every_stage_and_every_pair_of_signal_and_target_meets_every_moment() -> None:
    pairs = [(number, target) for number in SIGNALS for target in TARGETS]
    for stage in STAGES:
        assert {moment_of(stage, *pair) for pair in pairs} == set(MOMENTS)
    for pair in pairs:
        assert {moment_of(stage, *pair) for stage in STAGES} == set(MOMENTS)


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
        line_of(process, "epoch 1/")
        started = time.monotonic()
        output_of(process)
    return time.monotonic() - started


@pytest.mark.parametrize("turn", range(20))
def test_training_may_be_interrupted_at_any_moment(
    project: Project, undisturbed: dict[str, bytes], training_seconds: float, turn: int, tmp_path: Path
) -> None:
    number, target = SIGNALS[turn % 3], TARGETS[turn // 3 % 3]
    environment = project.python(f'echo $$ > \'{tmp_path}/process\'\nexec "$PYTHON" "$@"')
    command = ("dvc", "repro", "--force", "--single-item", "train_scratch")
    with project.started(*command, environment=environment) as process:
        line_of(process, "epoch 1/")
        time.sleep(random.Random(turn).uniform(0, training_seconds))
        try:
            send(number, target, int((tmp_path / "process").read_text()), process)
        except ProcessLookupError:
            assert target == "stage"  # it had ended: on a busy machine moments differ
        output = output_of(process)
    assert "Traceback" not in output, output
    assert_nothing_is_half_written(project, undisturbed)
    assert_repro_ends_as_undisturbed([project], undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_whose_dvc_was_killed_stops_before_the_next_run_can_begin(
    project: Project, undisturbed: dict[str, bytes], number: int
) -> None:
    project.set({"train_scratch.epochs": "10000", "train_scratch.schedule": "constant"})
    try:
        with project.started("dvc", "repro", "train_scratch") as process:
            line_of(process, "epoch 1/")
            os.kill(process.pid, number)
            process.wait(timeout=PATIENCE)
            project.run("git", "checkout", "--quiet", "params.yaml")
            project.dvc("repro")
            output = output_of(process)  # the end of the pipe: the stage has ended as well
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
            line_of(second, "waiting for another run of this stage to end")
            assert second.poll() is None
            signpost.unlink()
            output_of(second)
        output_of(first)
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
        process.wait(timeout=PATIENCE)
        time.sleep(0.6)  # time to notice, three times over
        signpost.unlink()
        output = output_of(process)
    assert "error:" not in output
    assert project.made() == undisturbed
    project.dvc("repro")
