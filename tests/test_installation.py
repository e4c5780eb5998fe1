"""What pip really asks for: the installation of `make`, from a package index on this machine with stand-in wheels."""

import http.server
import io
import os
import re
import shutil
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imports import ROOT
from tests.project import Project

pytestmark = pytest.mark.slow

PINS = {
    re.sub(r"[-_.]+", "-", name.lower()): version  # as in addresses
    for name, version in re.findall(r"^(.+)==(.+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
}
# A build backend of the name of ours, which makes a wheel of nothing but what pyproject.toml requires.
BACKEND = """
import tomllib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    project = tomllib.load(open("pyproject.toml", "rb"))["project"]
    lines = ["Metadata-Version: 2.1", "Name: mnist-twice", "Version: 1.0.0"]
    lines += [f"Requires-Dist: {name}" for name in project["dependencies"]]
    for extra, names in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {name.split(';')[0]}; extra == '{extra}'" for name in names]
    name = "mnist_twice-1.0.0"
    with zipfile.ZipFile(f"{folder}/{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.dist-info/METADATA", "\\n".join(lines))
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any")
        wheel.writestr(f"{name}.dist-info/RECORD", "")
    return f"{name}-py3-none-any.whl"
"""


def wheel(name: str, version: str, requirement: str = "") -> bytes:
    """A wheel without content, that of the build backend apart."""
    info, buffer = f"{name}-{version}.dist-info", io.BytesIO()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(f"{info}/METADATA", "\n".join(lines + [f"Requires-Dist: {requirement}"] * bool(requirement)))
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any")
        file.writestr(f"{info}/RECORD", "")
        if name == "hatchling":
            file.writestr("hatchling/build.py", BACKEND)
    return buffer.getvalue()


class Index(http.server.ThreadingHTTPServer):
    """/main has every package, PyTorch with a requirement of NVIDIA's; /cpu has PyTorch without it; /own is empty."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[str] = []

    def asked(self) -> set[str]:
        """The packages that were asked for since the last time, each with its index, and those that were sent."""
        asked, self.requests = set(self.requests), []
        return asked


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends pages and wheels, whatever their name."""

    server: Index

    def do_GET(self) -> None:
        _, index, name, *file = self.path.rstrip("/").split("/")
        self.server.requests.append(f"{index}/{name}{' sent' if file else ''}")
        version = PINS.get(name, "1.0")
        if index == "cpu" and name in ("torch", "torchvision"):
            version += "+cpu"
        elif index != "main":
            self.send_error(404)
            return
        body = f"<a href='{name.replace('-', '_')}-{version}-py3-none-any.whl'>wheel</a>".encode()
        if file:
            requirement = "nvidia-cublas" if (name, index) == ("torch", "main") else ""
            body = wheel(name.replace("-", "_"), version, requirement)
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if file else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as index:
        threading.Thread(target=index.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield index
        index.shutdown()


def settings(index: Index, folder: Path) -> dict[str, str]:
    """pip with the index and nothing of this machine's settings, but with some that would lead it astray."""
    for_pip = dict.fromkeys((name for name in os.environ if name.startswith("PIP_")), "")
    return {
        **for_pip,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"{index.address}/main",
        "PIP_EXTRA_INDEX_URL": f"{index.address}/own",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_USER": "1",
        "PIP_TARGET": str(folder / "elsewhere"),
        "PYTHON": sys.executable,
        "CPU_INDEX": f"{index.address}/cpu",
    }


def test_each_way_to_install_brings_what_it_says_and_no_more(index: Index, tmp_path: Path) -> None:
    project = Project(tmp_path / "Ein Projekt")
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "stages/tools/preflight.py"):
        (project.folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project.folder / name)
    (project.folder / ".dvc").mkdir()
    environment = settings(index, tmp_path)

    def make(*arguments: str) -> set[str]:
        project.run("make", *arguments, environment=environment)
        return index.asked()

    asked = make(".venv/scratch")
    assert {"main/numpy sent", "main/dvc sent", "own/numpy"} <= asked
    assert not {name for name in asked if re.search("torch|nvidia|pytest|^cpu", name)}

    asked = make(".venv/installed", "CPU=1")
    assert {"cpu/torch sent", "cpu/torchvision sent", "main/pytest sent", "own/torch"} <= asked
    assert not {name for name in asked if "nvidia" in name or name == "main/torch sent"}
    packages = project.run(".venv/bin/python", "-m", "pip", "freeze", environment={"PYTHONPATH": ""}).stdout
    assert f"torch=={PINS['torch']}+cpu\n" in packages
    assert not (tmp_path / "elsewhere").exists()

    assert make(".venv/installed") == set()
    asked = make(".venv/export")
    assert {"main/onnx sent", "main/onnxruntime sent"} <= asked
    assert not {name for name in asked if re.search("torch|nvidia", name)}
    assert make(".venv/export") == set()
    assert {"main/jax sent", "main/optax sent"} <= make(".venv/bench")
    (project.folder / "pyproject.toml").touch()
    asked = make(".venv/installed")  # the CPU's PyTorch stays
    assert "main/hatchling sent" in asked
    assert not {name for name in asked if re.search("torch.* sent|nvidia", name)}

    plain = (".venv/bin/python", "-m", "pip", "install", "--dry-run", "--ignore-installed", "torch")
    project.run(*plain, environment=environment | dict.fromkeys(("PIP_USER", "PIP_TARGET"), ""))
    assert {"main/torch sent", "main/nvidia-cublas sent"} <= index.asked()  # else all this would prove nothing
