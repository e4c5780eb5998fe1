"""IDX, the format of the raw digits: a magic number, the dimensions as big-endian 32-bit numbers, then the bytes."""

import math
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.pipeline.errors import PipelineError

Bytes = NDArray[np.uint8]

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"

_SIDE = 28
_UNSIGNED_BYTES = 8  # the type that the magic number names: 0x08, then the number of dimensions


def decode_images(content: bytes) -> Bytes:
    """The images in ``content``, uint8 (N, 28, 28), read-only. Raises ValueError that says what is wrong."""
    images = _decode(content, dimensions=3)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise ValueError(f"images of {_SIDE} x {_SIDE} expected, {images.shape[1]} x {images.shape[2]} found")
    if images.min() == images.max():
        raise ValueError(f"blank: every pixel is {images.max()}")
    return images


def decode_labels(content: bytes) -> Bytes:
    """The labels in ``content``, uint8 (N,), each 0 to 9, read-only. Raises ValueError that says what is wrong."""
    labels = _decode(content, dimensions=1)
    if labels.max() > 9:
        raise ValueError(f"labels 0 to 9 expected, {labels.max()} found")
    return labels


def encode(array: Bytes) -> bytes:
    """``array`` as an IDX file's content."""
    magic = bytes([0, 0, _UNSIGNED_BYTES, array.ndim])
    return magic + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


def read_images(path: Path) -> Bytes:
    """Read images, uint8 (N, 28, 28), read-only. Raises PipelineError for a missing or damaged file."""
    try:
        return decode_images(_content(path))
    except ValueError as error:
        raise _damaged(path, str(error)) from None


def read_labels(path: Path) -> Bytes:
    """Read labels, uint8 (N,), each 0 to 9, read-only. Raises PipelineError for a missing or damaged file."""
    try:
        return decode_labels(_content(path))
    except ValueError as error:
        raise _damaged(path, str(error)) from None


def read_digits(folder: Path, split: Literal["train", "test"]) -> tuple[Bytes, Bytes]:
    """Read one split of the raw folder: images uint8 (N, 28, 28) and labels uint8 (N,).

    Raises PipelineError when a file is missing or damaged, or when the two differ in length.
    """
    names = (TRAIN_IMAGES, TRAIN_LABELS) if split == "train" else (TEST_IMAGES, TEST_LABELS)
    images, labels = read_images(folder / names[0]), read_labels(folder / names[1])
    if len(images) != len(labels):
        raise _damaged(folder / names[1], f"{len(images)} labels expected, one an image, {len(labels)} found")
    return images, labels


def _decode(content: bytes, dimensions: int) -> Bytes:
    header = 4 * (1 + dimensions)
    magic = bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    if not content.startswith(magic):
        raise ValueError(f"not IDX: magic number {magic.hex()} expected, {content[:4].hex() or 'nothing'} found")
    shape = [int(size) for size in np.frombuffer(content[4:header].ljust(header - 4, b"\0"), dtype=">u4")]
    expected = header + math.prod(shape)
    if len(content) != expected or len(content) == header:
        fault = "truncated" if len(content) < expected else "empty" if expected <= header else "too long"
        raise ValueError(f"{fault}: {expected} bytes expected, {len(content)} found")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, f"{error.strerror}") from None


def _damaged(path: Path, fault: str) -> PipelineError:
    return PipelineError(f"{path}: {fault}; fetch it again with dvc repro --force --single-item fetch")
