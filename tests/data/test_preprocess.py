"""The validation split takes the same fraction of every class, to the image, or says why it cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.pipeline.errors import PipelineError
from stages.preprocess import pixel_statistics, stratified_split


@given(st.lists(st.integers(2, 50), min_size=10, max_size=10), st.floats(0, 0.5), st.integers(0, 2**32))
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


def test_the_pixel_statistics_equal_numpys() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    assert pixel_statistics(images) == pytest.approx(((images / 255).mean(), (images / 255).std()), rel=1e-12)
