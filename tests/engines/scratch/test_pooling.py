"""Pooling agrees with torch in float64 for any kernel and stride."""

import re

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.engines.scratch.pooling import AvgPool2d, MaxPool2d
from tests.engines.scratch.against_torch import assert_layer_agrees

sides = st.tuples(st.integers(1, 9), st.integers(1, 9))
kernels = st.tuples(st.integers(1, 4), st.integers(1, 4))
strides = st.tuples(st.integers(1, 3), st.integers(1, 3))
Pair = tuple[int, int]
layers = pytest.mark.parametrize("name", ["MaxPool2d", "AvgPool2d"])
OURS = {"MaxPool2d": MaxPool2d, "AvgPool2d": AvgPool2d}


@layers
@given(st.integers(1, 4), st.integers(1, 4), sides, kernels, strides, st.integers(0, 2**32), st.booleans())
def test_pooling_agrees_with_torch_also_on_ties(
    name: str, batch: int, channels: int, side: Pair, kernel: Pair, stride: Pair, seed: int, ties: bool
) -> None:
    assume(side[0] >= kernel[0] and side[1] >= kernel[1])
    generator = np.random.default_rng(seed)
    shape = (batch, channels, *side)
    images = generator.integers(0, 3, size=shape).astype(np.float64) if ties else generator.normal(size=shape)
    assert_layer_agrees(OURS[name](kernel, stride), getattr(torch.nn, name)(kernel, stride), images, seed + 1)


@layers
@pytest.mark.parametrize("kernel", [2, 9])
def test_one_number_stands_for_height_and_width_and_the_stride_defaults_to_the_kernel_size(
    name: str, kernel: int
) -> None:
    """Rows and columns that fill no window are left out; a window of the whole map is global pooling."""
    images = np.random.default_rng(0).normal(size=(2, 3, 11, 9))
    assert_layer_agrees(OURS[name](kernel), getattr(torch.nn, name)(kernel), images, 1)


@layers
@pytest.mark.parametrize(("pool", "stride"), [((3, 1), (1, 1)), ((1, 3), (1, 2)), ((2, 3), (2, 2)), ((3, 2), (2, 2))])
def test_pooling_whose_windows_overlap_along_one_axis_agrees_with_torch(name: str, pool: Pair, stride: Pair) -> None:
    images = np.random.default_rng(0).integers(0, 3, size=(3, 2, 9, 8)).astype(np.float64)
    assert_layer_agrees(OURS[name](pool, stride), getattr(torch.nn, name)(pool, stride), images, 1)


@layers
@pytest.mark.parametrize("side", [(4, 9), (9, 4), (4, 4)])
def test_a_window_larger_than_the_input_is_rejected(name: str, side: Pair) -> None:
    layer = OURS[name](5)
    with pytest.raises(ValueError, match=re.escape(f"a window of (5, 5) does not fit into an input of {side}")):
        layer.forward(np.zeros((1, 1, *side)))
    assert layer.forward(np.zeros((1, 1, 5, 5))).shape == (1, 1, 1, 1)
