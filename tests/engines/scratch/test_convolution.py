"""Convolution agrees with torch in float64 for any kernel, stride and padding, and with a naive loop."""

import re
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from stages.engines.scratch import convolution
from stages.engines.scratch.convolution import Conv2d
from stages.engines.scratch.layers import Array
from tests.engines.scratch.against_torch import assert_layer_agrees, with_random_parameters

seeds = st.integers(0, 2**32)
sides = st.tuples(st.integers(1, 9), st.integers(1, 9))
kernels = st.tuples(st.integers(1, 4), st.integers(1, 4))
strides = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.tuples(st.integers(0, 2), st.integers(0, 2))
blocks = st.sampled_from((1, 100, convolution.BLOCK))  # one row at a time, some, all
sizes = st.integers(1, 4)
Pair = tuple[int, int]


@given(sizes, sizes, sizes, sides, kernels, strides, paddings, st.booleans(), blocks, seeds)
def test_convolution_agrees_with_torch(
    batch: int,
    inputs: int,
    outputs: int,
    side: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    bias: bool,
    block: int,
    seed: int,
) -> None:
    assume(all(side[axis] + 2 * padding[axis] >= kernel[axis] for axis in (0, 1)))
    images = np.random.default_rng(seed).normal(size=(batch, inputs, *side))
    layer = Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)
    module = torch.nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)
    with patch.object(convolution, "BLOCK", block):
        assert_layer_agrees(layer, module, images, seed + 1)


def test_one_number_stands_for_height_and_width() -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 11, 9))
    assert_layer_agrees(Conv2d(3, 2, 3, 2, 1), torch.nn.Conv2d(3, 2, 3, 2, 1), images, 1)


def naive_convolution(
    images: Array, weight: Array, bias: Array, stride: Pair, padding: Pair, grad_output: Array
) -> tuple[Array, Array, Array]:
    """Outputs and the gradients of weight and images, by the definition, one product at a time."""
    padded = np.pad(images, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    outputs, grad_weight, grad_padded = np.zeros_like(grad_output), np.zeros_like(weight), np.zeros_like(padded)
    for n, o, y, x in np.ndindex(grad_output.shape):
        outputs[n, o, y, x] = bias[o]
        for c, i, j in np.ndindex(weight.shape[1:]):
            row, column = y * stride[0] + i, x * stride[1] + j
            outputs[n, o, y, x] += weight[o, c, i, j] * padded[n, c, row, column]
            grad_weight[o, c, i, j] += grad_output[n, o, y, x] * padded[n, c, row, column]
            grad_padded[n, c, row, column] += grad_output[n, o, y, x] * weight[o, c, i, j]
    height, width = images.shape[2:]
    return outputs, grad_weight, grad_padded[:, :, padding[0] :, padding[1] :][:, :, :height, :width]


@pytest.mark.parametrize(("stride", "padding"), [((1, 1), (0, 0)), ((2, 1), (0, 2)), ((1, 3), (1, 0))])
def test_convolution_agrees_with_a_naive_loop(stride: Pair, padding: Pair) -> None:
    generator = np.random.default_rng(0)
    layer = Conv2d(2, 3, (3, 2), stride, padding)
    with_random_parameters(layer, generator)
    images = generator.normal(size=(2, 2, 7, 6))
    outputs = layer.forward(images)
    grad_output = generator.normal(size=outputs.shape)
    grad_input = layer.backward(grad_output)
    naive = naive_convolution(
        images, layer.parameters["weight"], layer.parameters["bias"], stride, padding, grad_output
    )
    for ours, expected in zip((outputs, layer.gradients["weight"], grad_input), naive, strict=True):
        assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", [(4, 9), (9, 4), (4, 4)])
def test_a_window_larger_than_the_input_is_rejected(side: Pair) -> None:
    layer = Conv2d(1, 1, 5)
    with_random_parameters(layer, np.random.default_rng(0))
    with pytest.raises(ValueError, match=re.escape(f"a window of (5, 5) does not fit into an input of {side}")):
        layer.forward(np.zeros((1, 1, *side)))
    assert layer.forward(np.zeros((1, 1, 5, 5))).shape == (1, 1, 1, 1)
