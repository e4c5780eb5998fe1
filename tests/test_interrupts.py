"""Signals at every stage and at random moments: nothing half-written, and the next run ends as if undisturbed."""

import os
import random
import re
import signal
import subprocess
import time
from itertools import product
from pathlib import Path

import pytest

from tests.project import TIMEOUT, Project, line_of, output_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("interruptible")]

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
    "parity",
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
        "reading": event == "open" and name.startswith(("params.yaml", "data/", "models/"))
        and "stages.pipeline.stage" in sys.modules,  # params.yaml is read once before, for its kernels
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


@pytest.fixture
def undisturbed(project: Project) -> dict[str, bytes]:
    return project.outputs()


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
    for name, content in project.outputs().items():
        if name.endswith("history.csv"):
            assert undisturbed[name].startswith(content), name
            assert content.endswith(b"\n")
        else:
            assert content == undisturbed[name], name
    assert ".partial" not in project.status()


def again(stage: str) -> tuple[str, ...]:
    """What runs one stage for certain: a plain `dvc repro` would take its outputs from the run cache."""
    return ("dvc", "repro", "--force", "--single-item", stage)


def trial(stage: str, moment: str) -> tuple[signal.Signals, str]:
    """The signal and the target with which a stage meets a moment."""
    row, column = STAGES.index(stage), MOMENTS.index(moment)
    return SIGNALS[(row + column) % 3], TARGETS[(row + row // 3 + 2 * column) % 3]


def test_every_pair_of_stage_signal_target_and_moment_is_tried() -> None:
    """In 36 trials for the 324 combinations."""
    trials = [(stage, moment, *trial(stage, moment)) for stage, moment in product(STAGES, MOMENTS)]
    factors = (STAGES, MOMENTS, SIGNALS, TARGETS)
    for first, second in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]:
        assert {(each[first], each[second]) for each in trials} == set(product(factors[first], factors[second]))


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_interrupted_leaves_nothing_half_written_and_runs_again(
    project: Project, undisturbed: dict[str, bytes], stage: str, moment: str, tmp_path: Path
) -> None:
    number, target = trial(stage, moment)
    signpost = tmp_path / "signpost"
    with project.started(*again(stage), environment=waiting_python(project, moment, signpost)) as process:
        send(number, target, process_number(signpost, process), process)
        if target == "dvc" and (number == signal.SIGINT or moment == "importing"):
            # DVC lets its stage finish, as a terminal's Ctrl-C goes to both; and imports end before a stage begins.
            signpost.unlink()
        output = output_of(process)  # the stage holds this pipe too, so its end is its end
    assert (process.returncode == 0) == ((number, target) == (signal.SIGINT, "dvc")), output
    if moment != "importing" or target == "dvc":  # before that, Python and the system end it in their own way
        assert "Traceback" not in output, output
        assert_says_why(output, number, target)
    assert_nothing_is_half_written(project, undisturbed)
    project.run(*again(stage))
    assert project.outputs() == undisturbed
    assert project.status() == ""


def assert_says_why(output: str, number: int, target: str) -> None:
    """The stage's own lines: one, where it lived to say one."""
    interrupted = "error: interrupted; run `dvc repro` to start this stage again"
    stopped = "error: stopped, because DVC was; run `dvc repro` to start this stage again"
    expected = {
        "stage": [] if number == signal.SIGKILL else [interrupted],
        "dvc": [] if number == signal.SIGINT else [stopped],
        "group": [] if number == signal.SIGKILL else [interrupted],
    }[target]
    assert re.findall(r"^error: .*$", output, re.MULTILINE) == expected, output


def test_after_an_interruption_repro_takes_what_it_had_made_before_from_the_cache(
    project: Project, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    signpost = tmp_path / "signpost"
    environment = waiting_python(project, "writing", signpost)
    with project.started(*again("train_scratch"), environment=environment) as process:
        send(signal.SIGINT, "group", process_number(signpost, process), process)
        output_of(process)
    assert "models/scratch/model.npz" not in project.outputs()
    assert "Running stage" not in project.dvc("repro")
    assert project.outputs() == undisturbed
    assert project.status() == ""


@pytest.fixture(scope="module")
def long_training(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose NumPy network trains long enough to be interrupted, trained and committed."""
    project = finished.copy(tmp_path_factory.mktemp("long") / "project")
    project.set({"training.epochs": "60"})
    project.dvc("repro", "train_scratch")
    project.commit("Long training")
    return project


@pytest.mark.parametrize(("number", "target"), [*product(SIGNALS, TARGETS)])
def test_training_may_be_interrupted_at_any_moment(
    long_training: Project, number: signal.Signals, target: str, tmp_path: Path
) -> None:
    project = long_training
    undisturbed = project.outputs()
    environment = project.python(f'echo $$ > \'{tmp_path}/process\'\nexec "$PYTHON" "$@"')
    with project.started(*again("train_scratch"), environment=environment) as process:
        epoch = random.Random(f"{number} {target}").randint(1, 50)
        line_of(process, f"epoch {epoch}/")
        time.sleep(random.Random(epoch).uniform(0, 0.05))
        send(number, target, int((tmp_path / "process").read_text()), process)
        output = output_of(process)
    assert "Traceback" not in output, output
    assert_nothing_is_half_written(project, undisturbed)
    project.run(*again("train_scratch"))
    assert project.outputs() == undisturbed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_whose_dvc_was_killed_stops_before_the_next_run_can_begin(
    project: Project, undisturbed: dict[str, bytes], number: int
) -> None:
    project.set({"training.epochs": "10000", "optimizer.schedule": "constant"})
    with project.started("dvc", "repro", "train_scratch") as process:
        line_of(process, "epoch 1/")
        os.kill(process.pid, number)
        process.wait(timeout=TIMEOUT)
        project.run("git", "checkout", "--quiet", "params.yaml")
        project.run(*again("train_scratch"))
        output = output_of(process)  # the end of the pipe: the stage has ended as well
    assert output.endswith("error: stopped, because DVC was; run `dvc repro` to start this stage again\n")
    assert project.outputs() == undisturbed


def test_a_stage_run_by_hand_outlives_its_shell(
    project: Project, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    signpost = tmp_path / "signpost"
    environment = waiting_python(project, "installing", signpost)
    with project.started("sh", "-c", "python -m stages.train scratch & wait", environment=environment) as process:
        process_number(signpost, process)
        process.kill()
        process.wait(timeout=TIMEOUT)
        time.sleep(0.6)  # time to notice, three times over
        signpost.unlink()
        output = output_of(process)
    assert "error:" not in output
    assert project.outputs() == undisturbed
