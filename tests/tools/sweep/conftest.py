"""What needs Ray is skipped where it is not installed; a project whose sweep takes seconds."""

import pytest

pytest.importorskip("ray", reason="Ray is not installed: make sweep installs it")
pytest.importorskip("optuna", reason="Optuna is not installed: make sweep installs it")

from tests.project import Project
from tests.tools.sweep.sweeps import EPOCHS, SWEEP, write_sweep


@pytest.fixture
def searching(project: Project) -> Project:
    """A project with a sweep of seconds."""
    project.set(EPOCHS)
    write_sweep(project, SWEEP)
    return project
