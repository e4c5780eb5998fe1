"""The validation split takes the same share of every class, to the digit, or says why it cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.pipeline.errors import PipelineError
from stages.preprocess import pixel_statistics, stratified_choice


@given(st.lists(st.integers(2, 50), min_size=10, max_size=10), st.floats(0, 0.5), st.integers(0, 2**32))
def test_sizes_add_up_and_every_class_gives_its_share(totals: list[int], part: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(10, dtype=np.uint8), totals))
    size = round(part * len(labels))
    chosen = stratified_choice(labels, size, np.random.default_rng(seed))
    assert chosen.sum() == size
    counts = np.bincount(labels[chosen], minlength=10)
    assert np.abs(counts - np.array(totals) * size / len(labels)).max() < 1


@pytest.mark.parametrize("size", [95, 100, 101, 10**18])
def test_nothing_left_of_a_class_is_refused(size: int) -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), 10)
    with pytest.raises(PipelineError, match=f"must leave some of every class among 100 digits, got {size}"):
        stratified_choice(labels, size, np.random.default_rng(0))


def test_the_statistics_are_numpys() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    assert pixel_statistics(images) == pytest.approx(((images / 255).mean(), (images / 255).std()), rel=1e-12)
