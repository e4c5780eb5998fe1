"""Splits and predictions: what is read is what was written, and what is neither is refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.pipeline.errors import PipelineError
from stages.pipeline.files import npz_bytes, write_bytes, write_json, write_npy
from stages.pipeline.splits import load_filters, load_labels, load_predictions, load_split, load_standardization

Array = np.ndarray[Any, Any]
IMAGES = np.random.default_rng(0).normal(size=(5, 28, 28)).astype(np.float32)
LABELS = np.array([0, 9, 3, 3, 1])
PROBABILITIES = np.random.default_rng(1).dirichlet(np.ones(10), 5).astype(np.float32)
PREPROCESS = "; make it again with `dvc repro --force --single-item preprocess`"
EVALUATE = "; make it again with `dvc repro --force --single-item evaluate@scratch`"


def write(folder: Path, images: Array = IMAGES, labels: Array = LABELS, name: str = "train") -> None:
    write_npy(folder / f"{name}_images.npy", images)
    write_npy(folder / f"{name}_labels.npy", labels)


def refusal(load: Callable[[], object]) -> str:
    with pytest.raises(PipelineError) as caught:
        load()
    return str(caught.value)


def changed(array: Array, *places_and_values: Any) -> Array:
    array = array.copy()
    for place, value in zip(places_and_values[::2], places_and_values[1::2], strict=True):
        array[place] = value
    return array


def test_what_is_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("train", "validation", "test")):
        write(Path("data/processed"), IMAGES + np.float32(number), (LABELS + number) % 10, name)
    for number, name in enumerate(("train", "validation", "test")):
        split = load_split(name)
        assert (split.images == IMAGES + np.float32(number)).all()
        assert (split.labels == (LABELS + number) % 10).all()
        assert (load_labels(name) == split.labels).all()
    write_npy(Path("data/predictions/scratch.npy"), PROBABILITIES)
    write_npy(Path("data/predictions/torch.npy"), PROBABILITIES[::-1].copy())
    assert (load_predictions("scratch", 5) == PROBABILITIES).all()
    assert (load_predictions("torch", 5) == PROBABILITIES[::-1]).all()
    write_json(Path("data/processed/standardization.json"), {"mean": 0.125, "std": 0.25})
    assert load_standardization()._asdict() == {"mean": 0.125, "std": 0.25}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES.astype(np.float64), "expected float32 (N, 28, 28), found float64 (5, 28, 28)"),
        (IMAGES.astype(">f4"), "expected float32 (N, 28, 28), found >f4 (5, 28, 28)"),
        (IMAGES[:, :27], "expected float32 (N, 28, 28), found float32 (5, 27, 28)"),
        (IMAGES[:, :, :27].copy(), "expected float32 (N, 28, 28), found float32 (5, 28, 27)"),
        (IMAGES.reshape(5, 784), "expected float32 (N, 28, 28), found float32 (5, 784)"),
        (IMAGES[:0], "expected float32 (N, 28, 28), found float32 (0, 28, 28)"),
        (np.float32(0), "expected float32 (N, 28, 28), found float32 ()"),
        (np.asfortranarray(IMAGES), "expected float32 (N, 28, 28), found float32 (5, 28, 28)"),
        *((changed(IMAGES, (2, 27, 5), value), "pixels must be finite numbers") for value in (np.nan, np.inf, -np.inf)),
    ],
)
def test_images_that_are_none_are_refused(tmp_path: Path, images: Array, message: str) -> None:
    write(tmp_path, images)
    assert refusal(lambda: load_split("train", tmp_path)) == f"{tmp_path}/train_images.npy: {message}{PREPROCESS}"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS.astype(np.uint8), "expected int64 (N), found uint8 (5,)"),
        (LABELS[:, None], "expected int64 (N), found int64 (5, 1)"),
        (LABELS[:0], "expected int64 (N), found int64 (0,)"),
        (changed(LABELS, 1, 10), "labels must be 0 to 9"),
        (changed(LABELS, 0, -1), "labels must be 0 to 9"),
        (LABELS[:4], "4 labels for 5 images"),
        (np.append(LABELS, 0), "6 labels for 5 images"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path: Path, labels: Array, message: str) -> None:
    write(tmp_path, labels=labels)
    assert refusal(lambda: load_split("train", tmp_path)) == f"{tmp_path}/train_labels.npy: {message}{PREPROCESS}"


# What stays within the tolerance of a float32 softmax, and what does not.
NEGATIVE = changed(PROBABILITIES, 3, [-0.01, 0.11, 0.9, *[0] * 7])
TOO_LARGE, TOO_SMALL, LARGE, SMALL = (
    changed(PROBABILITIES, 4, PROBABILITIES[4] * np.float32(factor)) for factor in (1.0011, 0.9988, 1.0009, 0.9991)
)
SUM = "each row must hold probabilities that sum to 1"


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (PROBABILITIES.astype(np.float64), "expected float32 (N, 10), found float64 (5, 10)"),
        (PROBABILITIES[:, :9].copy(), "expected float32 (N, 10), found float32 (5, 9)"),
        (PROBABILITIES[:4], "expected shape (5, 10), found (4, 10)"),
        (np.concatenate([PROBABILITIES, PROBABILITIES]), "expected shape (5, 10), found (10, 10)"),
        *((rows, SUM) for rows in (NEGATIVE, TOO_LARGE, TOO_SMALL, PROBABILITIES * 0)),
        (changed(PROBABILITIES, (2, 3), np.nan), SUM),
    ],
)
def test_predictions_that_are_none_are_refused(tmp_path: Path, probabilities: Array, message: str) -> None:
    path = tmp_path / "scratch.npy"
    write_npy(path, probabilities)
    assert refusal(lambda: load_predictions("scratch", 5, tmp_path)) == f"{path}: {message}{EVALUATE}"
    for rounded in (LARGE, SMALL, changed(PROBABILITIES, 0, np.eye(10)[3])):
        write_npy(path, rounded)
        assert (load_predictions("scratch", 5, tmp_path) == rounded).all()


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (np.full((2, 5, 5), np.nan, np.float32), "weights must be finite numbers"),
        (np.ones((2, 25), np.float32), "expected float32 (N, any, any), found float32 (2, 25)"),
        (None, "missing"),
    ],
)
def test_first_layers_that_are_none_are_refused(tmp_path: Path, filters: Array | None, message: str) -> None:
    path = tmp_path / "scratch.npy"
    if filters is not None:
        write_npy(path, filters)
    assert refusal(lambda: load_filters("scratch", tmp_path)) == f"{path}: {message}{EVALUATE}"


def test_truncated_missing_pickled_and_other_files_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "train_images.npy"
    path.write_bytes(path.read_bytes()[:1000])
    assert refusal(lambda: load_split("train", tmp_path)).startswith(f"{path}: Failed to read all data for array")
    np.save(path, np.array([{}]), allow_pickle=True)
    assert refusal(lambda: load_split("train", tmp_path)).startswith(f"{path}: Object arrays cannot be loaded")
    write_bytes(path, npz_bytes({"images": IMAGES}))
    assert refusal(lambda: load_split("train", tmp_path)) == f"{path}: not an .npy file{PREPROCESS}"
    path.write_bytes(b"\x93NUMPY\1\0" + (600).to_bytes(2, "little") + b"word " * 120)
    message = refusal(lambda: load_split("train", tmp_path))
    assert message.endswith(f" ...{PREPROCESS}")
    assert 190 <= len(message.removeprefix(f"{path}: ").removesuffix(PREPROCESS)) <= 200
    path.unlink()
    assert refusal(lambda: load_split("train", tmp_path)) == f"{path}: missing{PREPROCESS}"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"{}", b"3", b"null", b"\xff", b"[" * 100_000),
        *(b'{"mean": 0.1}', b'{"std": 0.3}', b'{"mean": null, "std": 1}', b'{"mean": "much", "std": 1}'),
        *(b'{"mean": NaN, "std": 1}', b'{"mean": Infinity, "std": 1}', b'{"mean": 1' + b"0" * 400 + b', "std": 1}'),
        *(b'{"mean": 0.1, "std": %s}' % std for std in (b"0", b"-1", b"NaN", b"Infinity")),
    ],
)
def test_a_standardization_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "standardization.json"
    assert refusal(lambda: load_standardization(tmp_path)) == f"{path}: missing{PREPROCESS}"
    path.write_bytes(content)
    assert refusal(lambda: load_standardization(tmp_path)) == f"{path}: damaged{PREPROCESS}"
