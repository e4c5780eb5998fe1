"""IDX, MNIST's file format: a magic number, the dimensions as big-endian 32-bit integers, then the bytes."""

import math
import struct
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

_UNSIGNED_BYTES = 8  # the dtype in the magic number: 0x08, then the number of dimensions


def encode(array: Bytes) -> bytes:
    """Encode ``array`` as the contents of an IDX file."""
    return bytes([0, 0, _UNSIGNED_BYTES, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def decode(name: str, content: bytes) -> Bytes:
    """Decode the file ``name``: images uint8 (N, 28, 28) or labels uint8 (N,), 0 to 9, read-only.

    Raises ValueError that says what is wrong.
    """
    item_shape = (28, 28) if "images" in name else ()
    header, shape = decode_header(name, content)
    size = header + math.prod(shape)
    if len(content) != size or size == header:
        problem = "truncated" if len(content) < size else "empty" if size == header else "too long"
        raise ValueError(f"{problem}: {size} bytes expected, {len(content)} found")
    if shape[1:] != item_shape:
        raise ValueError(f"images of 28 x 28 expected, {shape[1]} x {shape[2]} found")
    array = np.frombuffer(content, np.uint8, offset=header).reshape(shape)
    if item_shape and array.min() == array.max():
        raise ValueError(f"blank: every pixel is {array.max()}")
    if not item_shape and array.max() > 9:
        raise ValueError(f"labels 0 to 9 expected, {array.max()} found")
    return array


def decode_header(name: str, content: bytes) -> tuple[int, tuple[int, ...]]:
    """The length in bytes of the header of the file ``name``, and the shape that it declares.

    Raises ValueError if it is not a header of unsigned bytes with as many dimensions as the file must have.
    """
    dimensions = 3 if "images" in name else 1
    magic, header = bytes([0, 0, _UNSIGNED_BYTES, dimensions]), 4 * (1 + dimensions)
    if not content.startswith(magic):
        raise ValueError(f"not IDX: magic number {magic.hex()} expected, {content[:4].hex() or 'nothing'} found")
    return header, struct.unpack(f">{dimensions}I", content[4:header].ljust(header - 4, b"\0"))


def read_split(folder: Path, split: Literal["train", "test"]) -> tuple[Bytes, Bytes]:
    """Read one split of the raw folder: images uint8 (N, 28, 28) and labels uint8 (N,).

    Raises PipelineError that names the file if one is missing or damaged, or if their lengths differ.
    """
    images_name, labels_name = (TRAIN_IMAGES, TRAIN_LABELS) if split == "train" else (TEST_IMAGES, TEST_LABELS)
    images, labels = _read(folder / images_name), _read(folder / labels_name)
    if len(images) != len(labels):
        raise _error(folder / labels_name, f"{len(images)} labels expected, one per image, {len(labels)} found")
    return images, labels


def _read(path: Path) -> Bytes:
    try:
        return decode(path.name, path.read_bytes())
    except OSError as error:
        raise _error(path, f"{error.strerror}") from None
    except ValueError as error:
        raise _error(path, str(error)) from None


def _error(path: Path, message: str) -> PipelineError:
    return PipelineError(f"{path}: {message}; fetch it again with `dvc repro --force --single-item fetch`")
