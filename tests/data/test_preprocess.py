"""Every image is in one split, standardized by the training pixels alone; validation takes its part of every class."""

import json
import math
import re
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from stages import preprocess
from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Bytes, encode
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes
from stages.preprocess import check_classes, pixel_statistics, stratified_split
from tests.imports import ROOT

CLASS_SIZES = st.integers(2, 50) | st.just(0)


@given(st.lists(CLASS_SIZES, min_size=10, max_size=10).filter(any), st.floats(0, 0.5), st.integers(0, 2**32))
def test_sizes_add_up_and_every_class_gives_its_fraction(totals: list[int], fraction: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(10, dtype=np.uint8), totals))
    size = round(fraction * len(labels))
    is_validation = stratified_split(labels, size, np.random.default_rng(seed))
    assert is_validation.sum() == size
    counts = np.bincount(labels[is_validation], minlength=10)
    assert np.abs(counts - np.array(totals) * size / len(labels)).max() < 1


def test_the_only_image_of_a_class_is_not_taken_for_validation() -> None:
    with pytest.raises(PipelineError, match="must leave some of every class among 4 images, got 3"):
        stratified_split(np.array([0, 1, 1, 1], np.uint8), 3, np.random.default_rng(0))


@pytest.mark.parametrize("size", [95, 100, 101, 10**18])
def test_a_split_that_leaves_nothing_of_a_class_is_refused(size: int) -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), 10)
    with pytest.raises(PipelineError, match=f"must leave some of every class among 100 images, got {size}"):
        stratified_split(labels, size, np.random.default_rng(0))


def test_classes_may_be_absent_but_not_all_but_one_nor_only_in_training() -> None:
    train = np.array([3, 5, 3], np.uint8)
    check_classes(train, train[:1])
    with pytest.raises(PipelineError, match="class 4 has test images, but no training image"):
        check_classes(train, np.array([5, 4, 9], np.uint8))
    with pytest.raises(PipelineError, match="every training image is of class 3"):
        check_classes(train[::2], train[::2])


@pytest.mark.parametrize("count", [50, 1000, 2500])
def test_the_pixel_statistics_are_exact_and_rounded_once(count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    images[: count // 2] //= 2  # nothing white among the first ones
    mean, std = pixel_statistics(images)
    assert (mean, std) == pytest.approx(((images / 255).mean(), (images / 255).std()), rel=1e-12)
    exact = [Fraction(int((images.astype(np.int64) ** power).sum()), 255**power * images.size) for power in (1, 2)]
    assert mean == float(exact[0])
    below, above = (Fraction(std) / 2 + Fraction(math.nextafter(std, end)) / 2 for end in (0, 1))
    assert below**2 <= exact[1] - exact[0] ** 2 <= above**2  # no other float is closer to the root


def test_a_training_split_of_one_shade_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"^data/raw: all pixels of the training split are equal; fetch other"):
        pixel_statistics(np.full((3, 28, 28), 7, np.uint8))


@given(st.lists(CLASS_SIZES, min_size=10, max_size=10).filter(any), st.floats(0, 0.5))
def test_counts_are_those_of_the_largest_remainders(totals: list[int], fraction: float) -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), totals)
    size = round(fraction * len(labels))
    counts = np.bincount(labels[stratified_split(labels, size, np.random.default_rng(0))], minlength=10)
    quotas = [Fraction(total * size, len(labels)) for total in totals]
    floors = [math.floor(quota) for quota in quotas]
    remainders = sorted(((quota - math.floor(quota), -label) for label, quota in enumerate(quotas)), reverse=True)
    for remainder, label in remainders[: size - sum(floors)]:
        assert remainder > 0
        floors[-label] += 1
    assert sorted(counts) == sorted(floors)  # between equal remainders, the order is that of floating point
    assert np.abs(counts - np.array(floors)).sum() == 0 or len({each for each, _ in remainders}) < 10


@pytest.mark.parametrize("size", [40, 83, 250])
def test_counts_are_scikit_learns(size: int) -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), [20, 31, 42, 53, 64, 75, 86, 97, 108, 119])
    ours = labels[stratified_split(labels, size, np.random.default_rng(0))]
    theirs = train_test_split(labels, test_size=size, stratify=labels, random_state=0)[1]
    assert np.bincount(ours).tolist() == np.bincount(theirs).tolist()


def test_every_image_of_a_class_is_as_likely_to_be_taken() -> None:
    labels = np.tile(np.arange(4, dtype=np.uint8), 10)
    masks = [stratified_split(labels, 12, np.random.default_rng(seed)) for seed in range(1000)]
    assert np.abs(np.mean(masks, axis=0) - 0.3).max() < 4 * math.sqrt(0.3 * 0.7 / 1000)
    together = np.mean([mask[0] and mask[4] for mask in masks])
    assert together == pytest.approx(0.3 * 2 / 9, abs=0.035)  # without replacement


class Standardized(NamedTuple):
    """What the stage wrote of a split, and its pixels as they were."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    pixels: Bytes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


TOTALS = [40, 31, 22, 53, 14, 35, 26, 0, 38, 39]
GENERATOR = np.random.default_rng(5)
LABELS = GENERATOR.permutation(np.repeat(np.arange(10, dtype=np.uint8), TOTALS))
TEST = np.array([9, 0, 1, 1, 8, 2], np.uint8)


def numbered(size: int, low: int, high: int) -> Bytes:
    """Images that begin with their number, so that no two are equal."""
    images = GENERATOR.integers(low, high, (size, 28, 28), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(size), 256)
    return images


def is_validation(seed: int, size: int) -> NDArray[np.bool_]:
    """The choice of the first of a seed's streams, which nothing else draws from."""
    return stratified_split(LABELS, size, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,))))


DARK, TEST_IMAGES_ARRAY = numbered(len(LABELS), 0, 90), numbered(len(TEST), 180, 256)


def preprocessed(images: Bytes, seed: int, size: int, test_labels: Bytes = TEST) -> dict[str, Standardized]:
    """Run the stage in the current folder."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = re.sub(r"^seed: 1\b", f"seed: {seed}", text, flags=re.MULTILINE)
    text = text.replace("validation_size: 5000", f"validation_size: {size}")
    Path("params.yaml").write_text(text, encoding="utf-8")
    raw = (images, LABELS, TEST_IMAGES_ARRAY, test_labels)
    for name, array in zip((TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS), raw, strict=True):
        write_bytes(Path("data/raw", name), encode(array))
    preprocess.main()
    statistics = json.loads(Path("data/processed/standardization.json").read_text())
    splits = {}
    for name in ("train", "validation", "test"):
        standardized, labels = (np.load(f"data/processed/{name}_{kind}.npy") for kind in ("images", "labels"))
        pixels = np.rint((standardized * np.float64(statistics["std"]) + statistics["mean"]) * 255)
        splits[name] = Standardized(standardized, labels, pixels.astype(np.uint8))
    return splits


@pytest.mark.parametrize(("seed", "size"), [(1, 60), (2, 60), (1, 83)])
@pytest.mark.usefixtures("folder")
def test_the_stage_standardizes_three_splits_by_the_training_pixels_alone(
    seed: int, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    mask, images = is_validation(seed, size), DARK.copy()
    images[mask, 1:] += 120  # so that one validation image among the training images would be seen
    splits = preprocessed(images, seed, size)
    raw = {
        "train": (images[~mask], LABELS[~mask]),
        "validation": (images[mask], LABELS[mask]),
        "test": (TEST_IMAGES_ARRAY, TEST),
    }
    mean, std = (images[~mask] / 255).mean(), (images[~mask] / 255).std()
    for name, (pixels, labels) in raw.items():
        assert (splits[name].pixels == pixels).all(), name  # in their order
        assert (splits[name].labels == labels).all(), name
        assert splits[name].labels.dtype == np.int64
        assert splits[name].images.dtype == np.float32
        np.testing.assert_allclose(splits[name].images, (pixels / 255 - mean) / std, rtol=1e-6, atol=1e-6)
    assert splits["train"].images.mean(dtype=float) == pytest.approx(0, abs=1e-6)
    assert splits["train"].images.std(dtype=float) == pytest.approx(1, abs=1e-6)
    written = json.loads(Path("data/processed/standardization.json").read_text())
    assert written == {"mean": pytest.approx(mean, rel=1e-12), "std": pytest.approx(std, rel=1e-12)}
    assert len(splits["validation"].labels) == size
    assert capsys.readouterr().out == (
        f"{298 - size} train, {size} validation, 6 test images; pixel mean {mean:.4f}, standard deviation {std:.4f}\n"
    )


def test_a_seed_gives_the_same_bytes_and_another_another_split(folder: Path) -> None:
    def written(seed: int) -> dict[str, bytes]:
        preprocessed(DARK, seed, 60)
        return {path.name: path.read_bytes() for path in (folder / "data/processed").iterdir()}

    first = written(1)
    assert written(1) == first
    assert sorted(first) == [
        "standardization.json",
        *(f"{name}_{kind}.npy" for name in ("test", "train", "validation") for kind in ("images", "labels")),
    ]
    differing = {name for name, content in written(2).items() if content != first[name]}
    assert differing >= {"train_images.npy", "validation_images.npy", "validation_labels.npy", "train_labels.npy"}
    assert "test_labels.npy" not in differing


@pytest.mark.usefixtures("folder")
def test_the_stage_refuses_a_test_class_without_training_images() -> None:
    with pytest.raises(PipelineError, match=r"^data/raw: class 7 has test images, but no training image; fetch "):
        preprocessed(DARK, 1, 60, np.array([0, 7, 1, 1, 8, 2], np.uint8))
    assert not Path("data/processed").exists()
