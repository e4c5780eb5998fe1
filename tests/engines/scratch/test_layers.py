"""Every basic layer agrees with torch.autograd in float64, for any batch and any width."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.engines.scratch.layers import Array, Dropout, Flatten, Linear
from tests.engines.scratch.against_torch import assert_layer_agrees

sizes = st.integers(1, 9)
seeds = st.integers(0, 2**32)


@given(sizes, sizes, sizes, st.booleans(), seeds)
def test_linear_agrees_with_torch(batch: int, in_features: int, out_features: int, bias: bool, seed: int) -> None:
    inputs = np.random.default_rng(seed).normal(size=(batch, in_features))
    layer = Linear(in_features, out_features, bias)
    assert_layer_agrees(layer, torch.nn.Linear(in_features, out_features, bias), inputs, seed + 1)


@given(sizes, sizes, sizes, seeds, st.booleans())
def test_flatten_agrees_with_torch_for_any_memory_layout(
    batch: int, height: int, width: int, seed: int, batch_innermost: bool
) -> None:
    inputs = np.random.default_rng(seed).normal(size=(batch, height, width))
    if batch_innermost:  # the memory layout of a convolution's output
        inputs = np.moveaxis(np.ascontiguousarray(np.moveaxis(inputs, 0, -1)), -1, 0)
    assert_layer_agrees(Flatten(), torch.nn.Flatten(), inputs, seed + 1)


class FrozenDropout(Dropout):
    """Uses the mask that it is given."""

    def __init__(self, mask: Array) -> None:
        super().__init__()
        self.mask = mask

    def sample_mask(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        assert shape == self.mask.shape
        return self.mask.astype(dtype)


@given(sizes, sizes, st.floats(0, 0.95), seeds, st.booleans())
def test_dropout_agrees_with_torch_under_the_mask_that_torch_draws(
    batch: int, features: int, p: float, seed: int, training: bool
) -> None:
    module = torch.nn.Dropout(p)
    torch.manual_seed(seed)
    mask = module(torch.ones(batch, features, dtype=torch.float64)).numpy()
    torch.manual_seed(seed)
    inputs = np.random.default_rng(seed).normal(size=(batch, features))
    assert_layer_agrees(FrozenDropout(mask), module, inputs, seed + 1, training)


def test_dropout_zeroes_a_fraction_p_with_a_new_mask_each_time_and_keeps_the_mean() -> None:
    layer, ones = Dropout(0.3), np.ones((1000, 100), np.float32)
    layer.generator = np.random.default_rng(0)
    first, second = layer.forward(ones), layer.forward(ones)
    assert (first == 0).mean() == pytest.approx(0.3, abs=0.01)  # six standard errors
    assert set(np.unique(first)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    assert ((first == 0) & (second == 0)).mean() == pytest.approx(0.09, abs=0.01)
    assert (layer.backward(ones) == second).all()
    layer.training = False
    assert (layer.forward(ones) == ones).all()
