"""Raw images to standardized splits: ``python -m stages.preprocess``."""

from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.data.idx import Bytes, read_split
from stages.pipeline.classifier import CLASSES, WHITE, Standardization
from stages.pipeline.config import DataConfig
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_json, write_npy
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import PROCESSED, Split
from stages.pipeline.stage import run

RAW = Path("data/raw")
CHUNK = 1000  # images at a time, of which bincount makes 64-bit integers


def main() -> None:
    """Split the validation images from the training images, and standardize all three splits."""
    config = load_config(DataConfig)
    raw = read_split(RAW, "train")
    test = read_split(RAW, "test")
    check_classes(raw[1], test[1])
    generator = spawn_generators(config.seed).split
    training, validation, standardization = split_and_standardize(*raw, config.preprocess.validation_size, generator)
    splits = {"train": training, "validation": validation, "test": standardized(*test, standardization)}
    for name, split in splits.items():
        write_npy(PROCESSED / f"{name}_images.npy", split.images)
        write_npy(PROCESSED / f"{name}_labels.npy", split.labels)
    write_json(PROCESSED / "standardization.json", standardization._asdict())
    sizes = ", ".join(f"{len(split.labels)} {name}" for name, split in splits.items())
    print(f"{sizes} images; pixel mean {standardization.mean:.4f}, standard deviation {standardization.std:.4f}")


def split_and_standardize(
    images: Bytes, labels: Bytes, validation_size: int, generator: np.random.Generator
) -> tuple[Split, Split, Standardization]:
    """Cut the validation split from the raw training images (N, 28, 28); both are standardized by what remains."""
    is_validation = stratified_split(labels, validation_size, generator)
    standardization = Standardization(*pixel_statistics(images[~is_validation]))
    training, validation = (
        standardized(images[mask], labels[mask], standardization) for mask in (~is_validation, is_validation)
    )
    return training, validation, standardization


def standardized(images: Bytes, labels: Bytes, standardization: Standardization) -> Split:
    """Raw images and labels as the engines take them."""
    return Split(standardization.apply(images), labels.astype(np.int64))


def check_classes(labels: Bytes, test_labels: Bytes) -> None:
    """Raise PipelineError unless at least two classes have training images, and every class of the test split has.

    The others of the ten may have no image at all.
    """
    if len(set(labels)) < 2:
        raise PipelineError(f"{RAW}: every training image is of class {labels[0]}; fetch another dataset")
    if unknown := sorted(set(test_labels.tolist()) - set(labels.tolist())):
        raise PipelineError(f"{RAW}: class {unknown[0]} has test images, but no training image; fetch another dataset")


def stratified_split(labels: Bytes, size: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Choose ``size`` of the labels (N,) at random, the same fraction of every class; returns a mask (N,).

    The classes' counts are rounded by the largest-remainder method.
    Raises PipelineError if nothing would remain of some class; one without any label stays without.
    """
    totals = np.bincount(labels, minlength=CLASSES)
    quotas = totals * (min(size, len(labels)) / len(labels))
    counts = np.floor(quotas).astype(int)
    counts[np.argsort(counts - quotas, kind="stable")[: size - counts.sum()]] += 1
    if ((counts >= totals) & (totals > 0)).any():
        raise PipelineError(
            f"preprocess.validation_size: must leave some of every class among {len(labels)} images, got {size}"
        )
    mask = np.zeros(len(labels), bool)
    for label, count in enumerate(counts):
        mask[generator.choice(np.flatnonzero(labels == label), count, replace=False)] = True
    return mask


def pixel_statistics(images: Bytes) -> tuple[float, float]:
    """Mean and standard deviation of all pixels, from 0 (black) to 1 (white).

    Exact sums of integers, rounded once: no order in which a processor adds can change the last digit.
    """
    chunks = (images[start : start + CHUNK] for start in range(0, len(images), CHUNK))
    counts = np.sum([np.bincount(chunk.ravel(), minlength=WHITE + 1) for chunk in chunks], axis=0).tolist()
    total = sum(count * value for value, count in enumerate(counts))
    squares = sum(count * value**2 for value, count in enumerate(counts))
    mean, scale = Fraction(total, images.size * WHITE), images.size * WHITE
    if images.size * squares == total**2:
        raise PipelineError(f"{RAW}: all pixels of the training split are equal; fetch other images")
    with localcontext(prec=50):
        std = Decimal(images.size * squares - total**2).sqrt() / scale
    return float(mean), float(std)


if __name__ == "__main__":
    run(main)
