"""What needs Ray is skipped where it is not installed."""

import pytest

pytest.importorskip("ray", reason="Ray is not installed: make sweep installs it")
