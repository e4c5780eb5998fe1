"""How a stage ends: with one line and status 1 for what a user can mend, and with its parent, where that is DVC."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from stages.pipeline import arithmetic, stage
from stages.pipeline.errors import PipelineError
from tests.imports import ROOT

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def _as_started_by_hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The signals of a shell's command, the environment that a stage prepares, and the committed params.yaml."""
    before = [signal.signal(number, signal.SIG_DFL) for number in NUMBERS]
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    for name in arithmetic.THREADS_AND_PRECISION | arithmetic.KERNELS:
        monkeypatch.setenv(name, "")  # so that it is restored
    arithmetic.prepare()
    yield
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PipelineError("seed: missing"), "error: seed: missing"),
        (OSError(28, "No space left on device"), "error: [Errno 28] No space left on device"),
        (
            ModuleNotFoundError("No module", name="torch"),
            "error: torch is not installed; `make` installs it, `make scratch` does without",
        ),
        (
            ModuleNotFoundError("No module", name="torchvision"),
            "error: torchvision is not installed; `make` installs it, `make scratch` does without",
        ),
        (MemoryError(), "error: out of memory; make the network, the batch or the data smaller"),
        (KeyboardInterrupt(), "error: interrupted; run `dvc repro` to start this stage again"),
    ],
)
def test_what_a_user_can_cause_ends_with_one_line(error: BaseException, line: str) -> None:
    with pytest.raises(SystemExit) as caught:
        stage.run(raising(error))
    assert caught.value.code == line  # which Python prints, and exits with status 1


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), ModuleNotFoundError("No module", name="tensor")])
def test_a_mistake_in_the_code_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        stage.run(raising(error))
    assert caught.value is error


def test_params_are_read_before_any_work(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    with pytest.raises(SystemExit, match=r"^error: params.yaml: No such file or directory; run from the project's"):
        stage.run(raising(AssertionError("the stage began")))


@pytest.mark.parametrize("number", NUMBERS)
def test_both_signals_interrupt_a_stage_and_once_it_ends_neither_does(number: signal.Signals) -> None:
    def main() -> None:
        assert [signal.getsignal(each) for each in NUMBERS] == [signal.default_int_handler] * 2
        os.kill(os.getpid(), number)
        time.sleep(5)
        raise AssertionError("not interrupted")

    with pytest.raises(SystemExit, match=r"^error: interrupted"):
        stage.run(main)
    assert [signal.getsignal(each) for each in NUMBERS] == [signal.SIG_IGN] * 2


def test_a_signal_that_the_parent_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handlers: list[object] = []
    stage.run(lambda: handlers.extend(signal.getsignal(each) for each in NUMBERS))
    assert handlers == [signal.SIG_IGN, signal.default_int_handler]


def test_only_where_the_kernels_are_not_those_promised_a_note_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "can_pin", lambda: True)
    arithmetic.prepare()
    stage.run(lambda: None)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("MKL_DYNAMIC", "TRUE")
    stage.run(lambda: None)
    assert capsys.readouterr() == ("", f"note: {arithmetic.warning('portable')}\n")


def test_a_stage_of_dvc_watches_its_parent_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "train")
    before = set(threading.enumerate())
    during: list[threading.Thread] = []
    monkeypatch.setattr(stage, "PARENT", os.getppid())
    stage.run(lambda: during.extend(set(threading.enumerate()) - before))
    (watcher,) = during
    assert watcher.daemon  # else it would keep a stage that ended
    watcher.join(2)
    assert not watcher.is_alive()


# A parent that starts a stage of a second and ends at once, or waits for it.
PARENT = """
import os, sys, time
ready, started = os.pipe()
if os.fork():
    os.read(ready, 1)
    sys.exit(os.wait()[1] if "waits" in sys.argv else 0)
from stages.pipeline.stage import run
def main():
    os.write(started, b".")
    time.sleep(1)
    print("ended by itself")
run(main)
"""


@pytest.mark.parametrize(
    ("arguments", "variables", "survives"),
    [([], {"DVC_STAGE": "train"}, False), (["waits"], {"DVC_STAGE": "train"}, True), ([], {}, True)],
)
def test_a_stage_ends_with_its_parent_if_that_is_dvc(
    arguments: list[str], variables: dict[str, str], survives: bool
) -> None:
    command = [sys.executable, "-c", PARENT, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == ("ended by itself\n" if survives else "")
    line = "error: stopped, because DVC was; run `dvc repro` to start this stage again\n"
    assert done.stderr == ("" if survives else line)
    assert done.returncode == 0


def test_a_stage_ends_with_dvc_also_when_the_terminal_is_gone() -> None:
    gone, errors = os.pipe()
    os.close(gone)
    command, environment = [sys.executable, "-c", PARENT], {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "train"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=60
    )
    os.close(errors)
    assert done.stdout == ""


def test_the_engine_is_the_one_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = ("torch", "scratch")
    for engine in engines:
        monkeypatch.setattr(sys, "argv", ["train", engine])
        assert stage.engine_argument(engines) == engine
    for arguments in ([], ["jax"], ["torch", "scratch"], ["torch", ""]):
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        with pytest.raises(PipelineError, match=r"^name an engine: torch or scratch$"):
            stage.engine_argument(engines)
