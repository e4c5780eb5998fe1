"""Every plain layer agrees with torch.autograd in float64, for any batch and any width."""

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
def test_linear(batch: int, in_features: int, out_features: int, bias: bool, seed: int) -> None:
    inputs = np.random.default_rng(seed).normal(size=(batch, in_features))
    layer = Linear(in_features, out_features, bias)
    assert_layer_agrees(layer, torch.nn.Linear(in_features, out_features, bias), inputs, seed + 1)


@given(sizes, sizes, sizes, seeds, st.booleans())
def test_flatten(batch: int, height: int, width: int, seed: int, batch_innermost: bool) -> None:
    inputs = np.random.default_rng(seed).normal(size=(batch, height, width))
    if batch_innermost:  # as convolution leaves its output in memory
        inputs = np.moveaxis(np.ascontiguousarray(np.moveaxis(inputs, 0, -1)), -1, 0)
    assert_layer_agrees(Flatten(), torch.nn.Flatten(), inputs, seed + 1)


class FrozenDropout(Dropout):
    """Drops what it is told to."""

    def __init__(self, scale: Array) -> None:
        super().__init__(0.5, np.random.default_rng(0))
        self.scale = scale

    def draw(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        assert shape == self.scale.shape
        return self.scale.astype(dtype)


@given(sizes, sizes, st.floats(0, 0.95), seeds, st.booleans())
def test_dropout_with_the_mask_that_torch_draws(
    batch: int, features: int, probability: float, seed: int, training: bool
) -> None:
    module = torch.nn.Dropout(probability)
    torch.manual_seed(seed)
    scale = module(torch.ones(batch, features, dtype=torch.float64)).numpy()
    torch.manual_seed(seed)
    inputs = np.random.default_rng(seed).normal(size=(batch, features))
    assert_layer_agrees(FrozenDropout(scale), module, inputs, seed + 1, training)


def test_dropout_drops_its_share_anew_each_time_and_keeps_the_mean() -> None:
    layer, ones = Dropout(0.3, np.random.default_rng(0)), np.ones((1000, 100), np.float32)
    first, second = layer.forward(ones), layer.forward(ones)
    assert (first == 0).mean() == pytest.approx(0.3, abs=0.01)  # six standard errors
    assert set(np.unique(first)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    assert ((first == 0) & (second == 0)).mean() == pytest.approx(0.09, abs=0.01)
    assert (layer.backward(ones) == second).all()
    layer.training = False
    assert (layer.forward(ones) == ones).all()
