"""Arrays on disk: splits, predictions and first layers; and the mean and standard deviation of the pixels."""

import json
import math
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stages.pipeline.classifier import CLASSES, IMAGE_SHAPE, Images, Labels, Probabilities, Standardization
from stages.pipeline.errors import PipelineError

PROCESSED, PREDICTIONS, FILTERS = Path("data/processed"), Path("data/predictions"), Path("data/filters")
Filters = NDArray[np.float32]  # (units, height, width)


class Split(NamedTuple):
    """Images float32 (N, 28, 28), standardized, and their labels int64 (N,)."""

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
        raise _error(path, "pixels must be finite numbers", "preprocess")
    if len(images) != len(labels):
        raise _error(folder / f"{name}_labels.npy", f"{len(labels)} labels for {len(images)} images", "preprocess")
    return Split(images, labels)


def load_labels(name: str, folder: Path = PROCESSED) -> Labels:
    """Read only the labels of a split, int64 (N,). Raises PipelineError as :func:`load_split`."""
    path = folder / f"{name}_labels.npy"
    labels: Labels = _load(path, np.int64, (), "preprocess")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise _error(path, f"labels must be 0 to {CLASSES - 1}", "preprocess")
    return labels


def load_standardization(folder: Path = PROCESSED) -> Standardization:
    """Read the mean and standard deviation of the training split's pixels. Raises PipelineError as the others."""
    path = folder / "standardization.json"
    try:
        content = json.loads(path.read_bytes())
        standardization = Standardization(float(content["mean"]), float(content["std"]))
        if not (math.isfinite(standardization.mean) and 0 < standardization.std < math.inf):
            raise ValueError("no pixels have these")
        return standardization
    except FileNotFoundError:
        raise _error(path, "missing", "preprocess") from None
    except Exception:  # numbers without end and deep nesting raise errors of their own
        raise _error(path, "damaged", "preprocess") from None


def load_predictions(engine: str, count: int, folder: Path = PREDICTIONS) -> Probabilities:
    """Read one engine's probabilities for as many test images, float32 (count, 10).

    Raises PipelineError, with the file's name, for a file that is missing or not what the evaluate stage writes.
    """
    path, stage = folder / f"{engine}.npy", f"evaluate@{engine}"
    probabilities: Probabilities = _load(path, np.float32, (CLASSES,), stage)
    if len(probabilities) != count:
        raise _error(path, f"expected shape {(count, CLASSES)}, found {probabilities.shape}", stage)
    if not (probabilities.min() >= 0 and np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)):
        raise _error(path, "each row must hold probabilities that sum to 1", stage)
    return probabilities


def load_filters(engine: str, folder: Path = FILTERS) -> Filters:
    """Read the weights of one engine's first layer as images, float32 (units, height, width).

    Raises PipelineError, with the file's name, for a file that is missing or not what the evaluate stage writes.
    """
    path, stage = folder / f"{engine}.npy", f"evaluate@{engine}"
    filters: Filters = _load(path, np.float32, (None, None), stage)
    if not np.isfinite(filters).all():
        raise _error(path, "weights must be finite numbers", stage)
    return filters


def _load(path: Path, dtype: DTypeLike, item_shape: tuple[int | None, ...], stage: str) -> NDArray[Any]:
    """One array (N, *item_shape) as write_npy writes it; None is any length."""
    lengths = (None, *item_shape)
    try:
        array = np.load(path, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("not an .npy file")
        fits = len(lengths) == array.ndim and all(
            expected in (None, found) for expected, found in zip(lengths, array.shape, strict=True)
        )
        if array.dtype != dtype or not fits or not array.size or not array.flags.c_contiguous:
            expected = ", ".join(["N", *(str(length or "any") for length in item_shape)])
            raise ValueError(f"expected {np.dtype(dtype)} ({expected}), found {array.dtype} {array.shape}")
        return array
    except FileNotFoundError:
        raise _error(path, "missing", stage) from None
    except Exception as error:  # a damaged header can fail anywhere in NumPy's parser
        message = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise _error(path, message or type(error).__name__, stage) from None


def _error(path: Path, message: str, stage: str) -> PipelineError:
    return PipelineError(f"{path}: {message}; make it again with `dvc repro --force --single-item {stage}`")
