"""What the files of a dataset must be."""

import hashlib
import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, encode
from stages.data.raw_files import (
    PUBLISHED_SHA256,
    SHA256,
    DatasetSpec,
    dataset_spec,
    sha256,
    short_message,
    sizes,
    verify,
)
from stages.pipeline.errors import PipelineError

NAMES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
DIGITS = np.arange(7, dtype=np.uint8)
FILES = dict(zip(NAMES, map(encode, (PIXELS, DIGITS, PIXELS[:3], DIGITS[:3])), strict=True))


def test_the_names_are_those_under_which_mnist_is_published() -> None:
    assert NAMES == (
        *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    )


def test_no_letter_of_a_digest_changes_unseen() -> None:
    """One wrong letter would refuse what everybody has, which only a download would show."""
    table = json.dumps([SHA256, PUBLISHED_SHA256], sort_keys=True).encode()
    assert hashlib.sha256(table).hexdigest()[:16] == "85d960389ddb7783"


@pytest.mark.parametrize("dataset", ["MNIST", "FashionMNIST", "KMNIST"])
def test_a_known_dataset_has_60000_and_10000_images_with_known_digests(dataset: str) -> None:
    spec = dataset_spec(dataset)
    assert spec.name == dataset
    assert spec.sizes == {
        TRAIN_IMAGES: len(encode(np.zeros((60_000, 28, 28), np.uint8))),
        TRAIN_LABELS: len(encode(np.zeros(60_000, np.uint8))),
        TEST_IMAGES: len(encode(np.zeros((10_000, 28, 28), np.uint8))),
        TEST_LABELS: len(encode(np.zeros(10_000, np.uint8))),
    }
    known, other = spec.sha256, spec.published_sha256
    assert (set(known), set(other)) == ((set(), set(NAMES)) if dataset == "KMNIST" else (set(NAMES), set()))
    assert sizes(7, 3) == {name: len(content) for name, content in FILES.items()}
    with pytest.raises(FrozenInstanceError):
        spec.name = "mine"  # type: ignore[misc]  # which mypy sees, too


def test_a_custom_dataset_may_be_anything() -> None:
    spec = dataset_spec("custom")
    assert (spec.name, spec.sizes, spec.sha256, spec.published_sha256) == ("custom", {}, {}, {})
    verify(FILES, spec)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (TRAIN_IMAGES, FILES[TRAIN_IMAGES][:-1], "5504 bytes expected, 5503 found"),
        (TEST_LABELS, FILES[TEST_LABELS] + b"\0", "11 bytes expected, more found"),
        (TRAIN_LABELS, encode(DIGITS[::-1].copy()), "not mine's: SHA-256 {expected}... expected, {found}... found"),
    ],
)
def test_each_file_must_have_its_size_and_its_digest(name: str, content: bytes, message: str) -> None:
    spec = DatasetSpec("mine", sizes(7, 3), {name: sha256(content) for name, content in FILES.items()})
    verify(FILES, spec)
    expected, found = (hashlib.sha256(each).hexdigest()[:12] for each in (FILES[name], content))
    with pytest.raises(PipelineError) as caught:
        verify(FILES | {name: content}, spec)
    assert str(caught.value) == f"{name}: {message.format(expected=expected, found=found)}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (TRAIN_LABELS, encode(DIGITS[:6]), f"{TRAIN_LABELS}: 6 labels for 7 images"),
        (TEST_LABELS, encode(DIGITS), f"{TEST_LABELS}: 7 labels for 3 images"),
        (TEST_LABELS, encode(DIGITS[:3] + np.uint8(8)), f"{TEST_LABELS}: labels 0 to 9 expected, 10 found"),
    ],
)
def test_files_must_fit_each_other(name: str, content: bytes, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        verify(FILES | {name: content}, DatasetSpec())
    assert str(caught.value) == message


def test_a_message_is_one_short_line_without_passwords() -> None:
    assert (
        short_message("no https://me:secret@host/a\n and http://you@other/b@c")
        == "no https://host/a and http://other/b@c"
    )
    assert short_message(ValueError()) == "ValueError"
    long = short_message("word " * 100)
    assert 290 < len(long) <= 300
    assert long.endswith("word ...")
