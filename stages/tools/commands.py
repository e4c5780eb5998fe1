"""How a tool runs other programs, and how it ends: with one line, and with nothing that it started left running."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from stages.pipeline.arithmetic import KERNELS
from stages.pipeline.errors import PipelineError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Of the caller, not of this folder: kernels, on which params.yaml decides, and what git tells its hooks.
_FOREIGN = (*KERNELS, "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
_PATIENCE = 5  # seconds that a program has to end after each signal


def start(main: Callable[[], None]) -> None:
    """Run a tool; what a user can cause or fix ends it with one line and exit status 1."""
    for number in SIGNALS:  # all as Ctrl-C, so that temporary folders are removed; what is ignored stays ignored
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        main()
    except (PipelineError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted")


@contextmanager
def remembered_interrupts() -> Iterator[Callable[[], None]]:
    """Let what is interrupted go on until it calls what it gets here; a second signal interrupts at once.

    For loops around what has destructors: an exception of a signal that comes while one runs would be lost.
    """
    received = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            signal.default_int_handler(number, frame)

    def check() -> None:
        if received:
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, remember)
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    folder: Path,
    *command: str,
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run a command with this Python's tools first on the PATH; one that is interrupted has ended when this returns.

    It gets a process group of its own: what it started can then be ended with it, before its folder is removed.
    """
    own = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**own, "PATH": path, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        encoding=sys.getfilesystemencoding(),  # most of what is captured are names of files
        errors=sys.getfilesystemencodeerrors(),
        start_new_session=True,
    )
    try:
        output, errors = process.communicate()
    except KeyboardInterrupt:
        _end(process)
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def setting(key: str, value: Any) -> str:
    """``key=value`` as DVC's command line takes it."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}"


def _end(process: "subprocess.Popen[str]") -> None:
    """Interrupt a command and all that it started, then end it, then kill what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):  # the first is ignored by what runs with `&`
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # whoever presses Ctrl-C again need not wait
            process.wait(_PATIENCE)
