"""Raw digits to standardised splits: ``python -m stages.preprocess``."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.data.idx import Bytes, read_digits
from stages.pipeline.classifier import CLASSES
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_json, write_npy
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import PROCESSED
from stages.pipeline.stage import run

RAW = Path("data/raw")
PIXEL_VALUES = np.arange(256) / 255  # black 0 to white 1


def main() -> None:
    """Cut the validation split from the training digits, and standardise all three splits."""
    parameters = load_config()
    images, labels = read_digits(RAW, "train")
    if len(set(labels)) < CLASSES:
        raise PipelineError(f"{RAW}: no training digit of some class; fetch other digits")
    chosen = stratified_choice(labels, parameters.preprocess.validation_size, spawn_generators(parameters.seed).split)
    mean, deviation = pixel_statistics(images[~chosen])
    splits = {
        "train": (images[~chosen], labels[~chosen]),
        "validation": (images[chosen], labels[chosen]),
        "test": read_digits(RAW, "test"),
    }
    standardised = ((PIXEL_VALUES - mean) / deviation).astype(np.float32)
    for name, (split_images, split_labels) in splits.items():
        write_npy(PROCESSED / f"{name}_images.npy", standardised[split_images])
        write_npy(PROCESSED / f"{name}_labels.npy", split_labels.astype(np.int64))
    write_json(PROCESSED / "standardization.json", {"mean": mean, "std": deviation})
    sizes = ", ".join(f"{len(split_labels)} {name}" for name, (_, split_labels) in splits.items())
    print(f"{sizes} digits; pixel mean {mean:.4f}, standard deviation {deviation:.4f}")


def stratified_choice(labels: Bytes, size: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Choose ``size`` of the labels (N,) at random, of every class its share. Returns a mask (N,).

    Shares are rounded down, and what is then missing goes to the classes that lost most by it.
    Raises PipelineError when nothing would be left of some class.
    """
    totals = np.bincount(labels, minlength=CLASSES)
    shares = totals * (min(size, len(labels)) / len(labels))
    counts = np.floor(shares).astype(int)
    counts[np.argsort(counts - shares, kind="stable")[: size - counts.sum()]] += 1
    if (counts >= totals).any():
        raise PipelineError(
            f"preprocess.validation_size: must leave some of every class among {len(labels)} digits, got {size}"
        )
    mask = np.zeros(len(labels), bool)
    for digit, count in enumerate(counts):
        mask[generator.choice(np.flatnonzero(labels == digit), count, replace=False)] = True
    return mask


def pixel_statistics(images: Bytes) -> tuple[float, float]:
    """Mean and standard deviation of all pixels, black being 0 and white 1, from how often each value occurs."""
    share = np.bincount(images.ravel(), minlength=256) / images.size
    mean = float(share @ PIXEL_VALUES)
    return mean, float(np.sqrt(share @ (PIXEL_VALUES - mean) ** 2))


if __name__ == "__main__":
    run(main)
