"""Every basic layer agrees with torch.autograd in float64, for any batch and any width."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.engines.scratch import nn
from stages.engines.scratch.layers import Array, Dropout, Flatten, Linear, Module
from tests.engines.scratch.against_torch import assert_layer_agrees, with_random_parameters

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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6, 5), (3, 2, 4, 5)])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.9])
def test_dropout_keeps_what_draws_a_number_of_at_least_p_and_draws_nothing_at_inference(
    dtype: type[np.floating[Any]], shape: tuple[int, ...], p: float
) -> None:
    layer, reference = Dropout(p), np.random.default_rng(1)
    layer.generator = np.random.default_rng(1)
    inputs = np.random.default_rng(0).normal(size=shape).astype(dtype)
    for _ in range(2):
        expected = np.where(reference.random(shape, np.float32) >= p, inputs / dtype(1 - p), 0)
        outputs = layer.forward(inputs)
        assert outputs.dtype == dtype
        np.testing.assert_allclose(outputs, expected, rtol=1e-6 if dtype is np.float32 else 1e-15)
    layer.training = False
    assert (layer.forward(inputs) == inputs).all()
    assert (layer.backward(inputs) == inputs).all()
    assert layer.generator.bit_generator.state == reference.bit_generator.state


def test_a_layer_that_is_given_no_generator_draws_masks_of_its_own() -> None:
    x = np.ones((100, 100), np.float32)
    assert (Dropout(0.5).forward(x) != Dropout(0.5).forward(x)).any()


def test_a_number_of_exactly_p_is_kept() -> None:
    """Numbers are drawn from [0, 1), so that those of at least p are a fraction of exactly 1 − p."""
    layer = Dropout(float(np.random.default_rng(0).random(5, np.float32)[3]))
    layer.generator = np.random.default_rng(0)
    assert layer.forward(np.ones((1, 5)))[0, 3] > 0


def test_a_layer_that_lacks_a_pass_says_so() -> None:
    for method in (Module().forward, Module().backward):
        with pytest.raises(NotImplementedError):
            method(np.ones((1, 1)))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(3),
        *(getattr(nn, name)() for name in ("ReLU", "LeakyReLU", "Sigmoid", "Tanh", "GELU")),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_feature_maps_and_their_gradients_stay_in_their_memory_layout(layer: Module) -> None:
    """The batch innermost, as convolutions leave it; copies into another layout would cost their speed."""
    with_random_parameters(layer, np.random.default_rng(0))
    inputs = np.random.default_rng(0).normal(size=(6, 8, 3, 7)).transpose(3, 2, 0, 1)
    inputs = np.ascontiguousarray(inputs.transpose(2, 1, 3, 0)).transpose(3, 1, 0, 2)
    outputs = layer.forward(inputs)
    assert outputs.transpose(2, 1, 3, 0).flags.c_contiguous
    gradient = layer.backward(np.ones_like(outputs))
    assert np.argsort(gradient.strides).tolist() == [0, 3, 1, 2]
