"""Every layer agrees with torch.autograd in float64, for any batch and any width."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.scratch.layers import Flatten, Linear, ReLU
from tests.scratch.against_torch import assert_layer_agrees

sizes = st.integers(1, 9)
seeds = st.integers(0, 2**32)


@given(sizes, sizes, sizes, seeds)
def test_linear(batch: int, in_features: int, out_features: int, seed: int) -> None:
    inputs = np.random.default_rng(seed).normal(size=(batch, in_features))
    assert_layer_agrees(Linear(in_features, out_features), torch.nn.Linear(in_features, out_features), inputs, seed + 1)


@given(sizes, sizes, seeds)
def test_relu_also_where_the_input_is_exactly_0(batch: int, features: int, seed: int) -> None:
    inputs = np.random.default_rng(seed).integers(-2, 3, size=(batch, features)).astype(np.float64)
    assert_layer_agrees(ReLU(), torch.nn.ReLU(), inputs, seed + 1)


@given(sizes, sizes, sizes, seeds)
def test_flatten(batch: int, height: int, width: int, seed: int) -> None:
    inputs = np.random.default_rng(seed).normal(size=(batch, height, width))
    assert_layer_agrees(Flatten(), torch.nn.Flatten(), inputs, seed + 1)
