"""The validation split takes the same fraction of every class, to the image, or says why it cannot."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.pipeline.errors import PipelineError
from stages.preprocess import check_classes, pixel_statistics, stratified_split

CLASS_SIZES = st.integers(2, 50) | st.just(0)


@given(st.lists(CLASS_SIZES, min_size=10, max_size=10).filter(any), st.floats(0, 0.5), st.integers(0, 2**32))
def test_sizes_add_up_and_every_class_gives_its_fraction(totals: list[int], fraction: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(10, dtype=np.uint8), totals))
    size = round(fraction * len(labels))
    is_validation = stratified_split(labels, size, np.random.default_rng(seed))
    assert is_validation.sum() == size
    counts = np.bincount(labels[is_validation], minlength=10)
    assert np.abs(counts - np.array(totals) * size / len(labels)).max() < 1


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
    mean, std = pixel_statistics(images)
    assert (mean, std) == pytest.approx(((images / 255).mean(), (images / 255).std()), rel=1e-12)
    exact = [Fraction(int((images.astype(np.int64) ** power).sum()), 255**power * images.size) for power in (1, 2)]
    assert mean == float(exact[0])
    below, above = (Fraction(std) / 2 + Fraction(math.nextafter(std, end)) / 2 for end in (0, 1))
    assert below**2 <= exact[1] - exact[0] ** 2 <= above**2  # no other float is closer to the root
