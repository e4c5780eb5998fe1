"""IDX files: what is written is read again, and every damage is named with the file and the way out."""

from pathlib import Path

import numpy as np
import pytest

from stages.data.idx import (
    TEST_IMAGES,
    TEST_LABELS,
    encode,
    read_digits,
    read_images,
    read_labels,
)
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
LABELS = np.array([7, 0, 9], dtype=np.uint8)


def test_the_bytes_are_those_of_the_format() -> None:
    assert encode(LABELS) == b"\0\0\x08\x01" + b"\0\0\0\x03" + b"\x07\0\x09"
    assert encode(IMAGES)[:16] == b"\0\0\x08\x03" + b"\0\0\0\x03" + b"\0\0\0\x1c" * 2


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_bytes(tmp_path / TEST_IMAGES, encode(IMAGES))
    write_bytes(tmp_path / TEST_LABELS, encode(LABELS))
    images, labels = read_digits(tmp_path, "test")
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert images.dtype == labels.dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (encode(IMAGES)[:100], "truncated: 2368 bytes expected, 100 found"),
        (encode(IMAGES)[:9], "truncated"),
        (encode(IMAGES) + b"\0", "too long: 2368 bytes expected, 2369 found"),
        (encode(IMAGES[:0]), "empty"),
        (encode(IMAGES[:, :20]), "images of 28 x 28 expected, 20 x 28 found"),
        (encode(LABELS), "not IDX: magic number 00000803 expected, 00000801 found"),
        (b"<html>", "not IDX: magic number 00000803 expected, 3c68746d found"),
        (b"", "not IDX: magic number 00000803 expected, nothing found"),
        (None, "No such file or directory"),
    ],
)
def test_damaged_images_are_named_with_the_way_out(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / TEST_IMAGES
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PipelineError) as caught:
        read_images(path)
    assert str(caught.value).startswith(f"{path}: {fault}")
    assert str(caught.value).endswith("fetch it again with dvc repro --force --single-item fetch")


def test_a_label_above_nine_is_named(tmp_path: Path) -> None:
    write_bytes(tmp_path / TEST_LABELS, encode(np.array([3, 10], dtype=np.uint8)))
    with pytest.raises(PipelineError, match="labels 0 to 9 expected, 10 found"):
        read_labels(tmp_path / TEST_LABELS)


def test_a_label_too_few_is_named(tmp_path: Path) -> None:
    write_bytes(tmp_path / TEST_IMAGES, encode(IMAGES))
    write_bytes(tmp_path / TEST_LABELS, encode(LABELS[:2]))
    with pytest.raises(PipelineError, match=f"{TEST_LABELS}: 3 labels expected, one an image, 2 found"):
        read_digits(tmp_path, "test")
