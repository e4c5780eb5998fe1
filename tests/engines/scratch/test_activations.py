"""Every activation agrees with torch.autograd in float64, at its kinks and far out on its tails too."""

import numpy as np
import pytest
import scipy
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.engines.scratch import nn
from stages.engines.scratch.activations import erf
from tests.engines.scratch.against_torch import assert_layer_agrees

ACTIVATIONS = ["ReLU", "LeakyReLU", "Sigmoid", "Tanh", "GELU"]


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.1, 1.0, 30.0]), st.integers(0, 2**32))
def test_activation_agrees_with_torch(name: str, batch: int, features: int, scale: float, seed: int) -> None:
    inputs = scale * np.random.default_rng(seed).normal(size=(batch, features))
    assert_layer_agrees(getattr(nn, name)(), getattr(torch.nn, name)(), inputs, seed + 1)


@pytest.mark.parametrize(
    ("name", "slope"), [("ReLU", []), *(("LeakyReLU", [slope]) for slope in (-0.5, 0.0, 0.3, 1.5))]
)
def test_inputs_of_exactly_0_and_any_slope(name: str, slope: list[float]) -> None:
    inputs = np.random.default_rng(0).integers(-2, 3, size=(20, 20)).astype(np.float64)
    assert_layer_agrees(getattr(nn, name)(*slope), getattr(torch.nn, name)(*slope), inputs, 1)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_agrees_with_torch_far_out_on_its_tails(name: str) -> None:
    inputs = np.array([[-1e8, -1e4, -40.0, -6.0, 6.0, 40.0, 1e4, 1e8]])
    assert_layer_agrees(getattr(nn, name)(), getattr(torch.nn, name)(), inputs, 1)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_inputs_of_ten_thousand_stay_finite_in_float32(name: str) -> None:
    layer, inputs = getattr(nn, name)(), np.array([[-1e4, 0, 1e4]], np.float32)
    assert np.isfinite(layer.forward(inputs)).all()
    assert np.isfinite(layer.backward(inputs)).all()


def test_the_error_function_has_13_digits() -> None:
    tiny, huge = np.logspace(-300, 0, 301), np.array([0.0, 1e8, 1e300, np.inf])
    x = np.concatenate([np.linspace(-8, 8, 100_001), tiny, -tiny, huge, -huge])
    with np.errstate(over="ignore", under="ignore"):
        np.testing.assert_allclose(erf(x), scipy.special.erf(x), rtol=1e-13, atol=0)


def test_the_error_function_has_every_digit_that_float32_can_show() -> None:
    x = np.linspace(-8, 8, 1_000_001, dtype=np.float32)
    assert erf(x).dtype == np.float32
    np.testing.assert_allclose(erf(x), scipy.special.erf(x.astype(np.float64)), rtol=4e-7, atol=0)
