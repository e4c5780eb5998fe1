"""Ray, and a project whose sweep takes seconds."""

import pytest

pytest.importorskip("ray", reason="Ray is not installed: make sweep installs it")
pytest.importorskip("optuna", reason="Optuna is not installed: make sweep installs it")
