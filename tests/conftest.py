"""Settings of all tests, and the project that they share: run once by the real DVC, then copied."""

import os

# One thread per test process, before NumPy and PyTorch load: two processes with two threads each wait for one another.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import Phase, settings

from tests.project import Project, run_once

# The first example pays for torch's start, so a time limit by example would fail now and then; examples are the same
# in every run, so that a red test is red for everybody.
settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("first-failure", settings.get_profile("project"), phases=[Phase.generate])
settings.load_profile("project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after its first `dvc repro`, committed. It is everybody's: change only copies of it.

    Under pytest-xdist it is built by the first process that asks; what it printed and recorded lies beside it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            run_once(folder)
            (folder / "complete").touch()
    return Project(folder / "project")


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project for one test."""
    return finished.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def interruptible() -> Iterator[None]:
    """A suite that was started in the background ignores signals, and so would everything that it starts."""
    numbers = (signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
