"""Runs tests on mutants: each in a copy of the project, in a process that begins with the heavy packages loaded.

Loading PyTorch and SciPy takes seconds, and most mutants die in less. So they are loaded once, and every run of pytest
is a fork of that process; ``stages`` and ``tests`` are not loaded before the mutant is in its place.
"""

import gc
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import pytest

from tests.imports import ROOT
from tests.project import copy_project

PRELOADED = (
    *("dvc.api", "filelock", "hypothesis.extra.numpy", "matplotlib.figure", "numpy", "pandas", "PIL.Image", "pydantic"),
    *("pytest", "requests", "ruamel.yaml", "scipy.ndimage", "scipy.optimize", "scipy.stats", "sklearn.metrics"),
    *("sklearn.model_selection", "threadpoolctl", "torch", "torch._dynamo", "torch.optim.swa_utils", "tqdm"),
)
PLUGINS = ["-p", "_hypothesis_pytestplugin", "-p", "no:cacheprovider"]  # others are not loaded, which takes a second
OPTIONS = ["-x", "-q", "--assert=plain", *PLUGINS, "--hypothesis-profile=first-failure"]
QUICK = "not slow and not emulated"
NO_TESTS = 5  # pytest's exit status
Item = TypeVar("Item")


class Job(NamedTuple, Generic[Item]):
    """A module's source, and the tests to run on it; ``item`` is the caller's."""

    item: Item
    path: str
    source: str
    tests: Sequence[str]
    timeout: float
    plugins: Sequence[object] = ()


class Outcome(NamedTuple, Generic[Item]):
    """Whether a job's tests all passed, in which folder, and what pytest printed."""

    item: Item
    passed: bool
    folder: Path
    output: str


class _Running(NamedTuple, Generic[Item]):
    job: Job[Item]
    folder: Path
    started: float


def preload() -> None:
    """Load what the tests need, and keep the garbage collector of every fork from going through it."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


@contextmanager
def copies(count: int) -> Iterator[list[Path]]:
    """So many copies of the working tree, each in a git repository of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, str(number)) for number in range(count)]
        for folder in folders:
            copy_project(folder, {})
        yield folders


def run_all(jobs: Iterable[Job[Item]], folders: Sequence[Path]) -> Iterator[Outcome[Item]]:
    """Run jobs, one in each folder at a time; yields outcomes as they come. A job that takes too long has failed."""
    pending, free, running = iter(jobs), list(folders), dict[int, _Running[Item]]()
    try:
        while True:
            while free and (job := next(pending, None)):
                folder = free.pop()
                running[_start(job, folder)] = _Running(job, folder, time.monotonic())
            if not running:
                return
            for process, status in _ended(running):
                job, folder, _ = running.pop(process)
                free.append(folder)
                shutil.copy2(ROOT / job.path, folder / job.path)
                output = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
                if os.waitstatus_to_exitcode(status) == NO_TESTS:
                    raise ValueError(f"no quick test in {', '.join(job.tests)}")
                yield Outcome(job.item, status == 0, folder, output)
            time.sleep(0.005)
    finally:
        for process in running:
            _kill(process)


def _start(job: Job[Item], folder: Path) -> int:
    """Put the source in its place and fork a process that runs its tests."""
    (folder / job.path).write_text(job.source, encoding="utf-8")
    if process := os.fork():
        return process
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        sys.path[0] = str(folder)
        os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        sys.dont_write_bytecode = not job.plugins  # two mutants of one second and size would share their bytecode
        for name in [name for name in sys.modules if name.split(".")[0] in ("stages", "tests")]:
            del sys.modules[name]
        output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        temporary = ["--basetemp", str(folder / "temporary")]
        status = int(pytest.main([*OPTIONS, "-m", QUICK, *temporary, *job.tests], job.plugins))
    finally:
        sys.stdout.flush()
        os._exit(status)


def _ended(running: dict[int, "_Running[Item]"]) -> Iterator[tuple[int, int]]:
    for process, (job, _, started) in list(running.items()):
        ended, status = os.waitpid(process, os.WNOHANG)
        if not ended and time.monotonic() - started > job.timeout:
            _kill(process)
            ended, status = os.waitpid(process, 0)
        if ended:
            _kill(process)  # what its tests may have left behind
            yield process, status


def _kill(process: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
