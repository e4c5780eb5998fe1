"""The splits and predictions on disk, and batches of digits."""

import math
import os
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stages.pipeline.classifier import CLASSES, Images, Labels, Probabilities
from stages.pipeline.errors import PipelineError

PROCESSED, PREDICTIONS = Path("data/processed"), Path("data/predictions")
IMAGE_SHAPE = (28, 28)


class Split(NamedTuple):
    """Digits and what they are: images float32 (N, 28, 28), standardised; labels int64 (N,)."""

    images: Images
    labels: Labels


def load_split(name: str, folder: Path = PROCESSED) -> Split:
    """Read the split ``train``, ``validation`` or ``test``.

    Raises PipelineError, with the file's name, for a file that is missing or not what the preprocess stage writes.
    """
    path = folder / f"{name}_images.npy"
    images: Images = _load(path, np.float32, IMAGE_SHAPE, "preprocess")
    labels = load_labels(name, folder)
    if not (np.isfinite(images.min()) and np.isfinite(images.max())):
        raise _fault(path, "pixels must be finite numbers", "preprocess")
    if len(images) != len(labels):
        raise _fault(folder / f"{name}_labels.npy", f"{len(labels)} labels for {len(images)} images", "preprocess")
    return Split(images, labels)


def load_labels(name: str, folder: Path = PROCESSED) -> Labels:
    """Read the labels of a split alone, int64 (N,). Raises PipelineError as :func:`load_split`."""
    path = folder / f"{name}_labels.npy"
    labels: Labels = _load(path, np.int64, (), "preprocess")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise _fault(path, f"labels must be 0 to {CLASSES - 1}", "preprocess")
    return labels


def load_predictions(engine: str, digits: int, folder: Path = PREDICTIONS) -> Probabilities:
    """Read one engine's probabilities of as many test digits, float32 (digits, 10).

    Raises PipelineError, with the file's name, for a file that is missing or not what the evaluate stage writes.
    """
    path, stage = folder / f"{engine}.npy", f"evaluate@{engine}"
    probabilities: Probabilities = _load(path, np.float32, (CLASSES,), stage)
    if len(probabilities) != digits:
        raise _fault(path, f"expected shape {(digits, CLASSES)}, found {probabilities.shape}", stage)
    if not (probabilities.min() >= 0 and np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)):
        raise _fault(path, "each row must hold probabilities whose sum is 1", stage)
    return probabilities


def _load(path: Path, dtype: DTypeLike, item_shape: tuple[int, ...], stage: str) -> NDArray[Any]:
    try:
        return _read(path, np.dtype(dtype), item_shape)
    except FileNotFoundError:
        raise _fault(path, "missing", stage) from None
    except Exception as error:  # a damaged header can fail anywhere in NumPy's parser
        fault = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise _fault(path, fault or type(error).__name__, stage) from None


def _read(path: Path, dtype: np.dtype[Any], item_shape: tuple[int, ...]) -> NDArray[Any]:
    """One array as write_npy leaves it. Nothing is allocated before the header agrees with the file's size."""
    with path.open("rb") as file, warnings.catch_warnings(action="error"):
        if (version := np.lib.format.read_magic(file)) != (1, 0):
            raise ValueError(f"format version 1.0 expected, {'.'.join(map(str, version))} found")
        shape, fortran_order, found = np.lib.format.read_array_header_1_0(file)
        if found != dtype or shape[1:] != item_shape or shape[:1] < (1,) or fortran_order:
            expected = f"{dtype} (N{''.join(f', {length}' for length in item_shape)})"
            raise ValueError(f"expected {expected}, found {'transposed ' * fortran_order}{found} {shape}")
        size, left = math.prod(shape) * dtype.itemsize, os.fstat(file.fileno()).st_size - file.tell()
        if size != left:
            raise ValueError(f"{size} bytes of contents expected, {left} found")
        return np.fromfile(file, dtype).reshape(shape)


def _fault(path: Path, fault: str, stage: str) -> PipelineError:
    return PipelineError(f"{path}: {fault}; make it again with `dvc repro --force --single-item {stage}`")


def shuffled_batches(split: Split, batch_size: int, generator: np.random.Generator) -> Iterator[Split]:
    """Yield every digit of the split once, in random order, in batches; the last one holds what is left."""
    order = generator.permutation(len(split.labels))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield Split(split.images[chosen], split.labels[chosen])
