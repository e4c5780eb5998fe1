"""IDX files: what is written is read again, and every kind of damage is reported with the file and how to fix it."""

from pathlib import Path

import numpy as np
import pytest

from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, decode, encode, read_split
from stages.pipeline.errors import PipelineError

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
LABELS = np.array([7, 0, 9], dtype=np.uint8)


def test_the_bytes_are_those_of_the_format() -> None:
    assert encode(LABELS) == b"\0\0\x08\x01" + b"\0\0\0\x03" + b"\x07\0\x09"
    assert encode(IMAGES)[:16] == b"\0\0\x08\x03" + b"\0\0\0\x03" + b"\0\0\0\x1c" * 2


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    (tmp_path / TEST_IMAGES).write_bytes(encode(IMAGES))
    (tmp_path / TEST_LABELS).write_bytes(encode(LABELS))
    images, labels = read_split(tmp_path, "test")
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert images.dtype == labels.dtype == np.uint8
    with pytest.raises(PipelineError, match=TRAIN_IMAGES):
        read_split(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (TEST_IMAGES, encode(IMAGES)[:100], "truncated: 2368 bytes expected, 100 found"),
        (TEST_IMAGES, encode(IMAGES)[:9], "truncated"),
        (TEST_IMAGES, encode(IMAGES) + b"\0", "too long: 2368 bytes expected, 2369 found"),
        (TEST_IMAGES, encode(IMAGES[:0]), "empty"),
        (TEST_IMAGES, encode(IMAGES[:, :20]), "images of 28 x 28 expected, 20 x 28 found"),
        (TEST_IMAGES, encode(IMAGES[..., :20]), "images of 28 x 28 expected, 28 x 20 found"),
        (
            TEST_IMAGES,
            encode(IMAGES).replace(b"\0\0\0\x1c", b"\0\0\0\x0e", 1)[:1192],
            "images of 28 x 28 expected, 14 x",
        ),
        (TEST_IMAGES, encode(IMAGES * 0 + np.uint8(255)), "blank: every pixel is 255"),
        (TEST_IMAGES, encode(IMAGES)[:15], "truncated"),
        (TEST_IMAGES, encode(IMAGES)[:16], "truncated: 2368 bytes expected, 16 found"),
        (TEST_LABELS, encode(LABELS[:0]), "empty: 8 bytes expected, 8 found"),
        (TEST_LABELS, encode(LABELS)[:-1], "truncated: 11 bytes expected, 10 found"),
        (TEST_LABELS, b"\0\0\x09\x01" + encode(LABELS)[4:], "not IDX: magic number 00000801 expected, 00000901 found"),
        (TEST_IMAGES, encode(IMAGES * 0), "blank: every pixel is 0"),
        (TEST_IMAGES, encode(LABELS), "not IDX: magic number 00000803 expected, 00000801 found"),
        (TEST_IMAGES, b"<html>", "not IDX: magic number 00000803 expected, 3c68746d found"),
        (TEST_IMAGES, b"", "not IDX: magic number 00000803 expected, nothing found"),
        (TEST_IMAGES, None, "No such file or directory"),
        (TEST_LABELS, encode(LABELS + np.uint8(1)), "labels 0 to 9 expected, 10 found"),
        (TEST_LABELS, encode(LABELS[:2]), "3 labels expected, one per image, 2 found"),
    ],
)
def test_damage_is_reported_with_the_file_and_how_to_fix_it(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    (tmp_path / TEST_IMAGES).write_bytes(encode(IMAGES))
    (tmp_path / TEST_LABELS).write_bytes(encode(LABELS))
    path = tmp_path / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(PipelineError) as caught:
        read_split(tmp_path, "test")
    assert str(caught.value).startswith(f"{path}: {message}")
    assert str(caught.value).endswith("fetch it again with `dvc repro --force --single-item fetch`")


def test_each_split_is_read_from_its_own_files_and_one_label_for_all_is_no_damage(tmp_path: Path) -> None:
    for name, array in (
        *((TRAIN_IMAGES, IMAGES), (TRAIN_LABELS, np.full(3, 9, np.uint8))),
        *((TEST_IMAGES, IMAGES[1:]), (TEST_LABELS, LABELS[1:])),
    ):
        (tmp_path / name).write_bytes(encode(array))
    train, test = read_split(tmp_path, "train"), read_split(tmp_path, "test")
    for found, expected in zip((*train, *test), (IMAGES, [9, 9, 9], IMAGES[1:], LABELS[1:]), strict=True):
        np.testing.assert_array_equal(found, np.asarray(expected))
        assert not found.flags.writeable
    (tmp_path / TEST_IMAGES).write_bytes(encode(IMAGES))
    with pytest.raises(PipelineError, match=f"{TEST_LABELS}: 3 labels expected, one per image, 2 found"):
        read_split(tmp_path, "test")


def test_a_long_axis_takes_all_four_bytes() -> None:
    labels = np.arange(70_000) % 10
    content = encode(labels.astype(np.uint8))
    assert content[4:8] == (70_000).to_bytes(4, "big")
    assert (decode(TRAIN_LABELS, content) == labels).all()
