"""Batch normalization agrees with torch in float64: outputs, gradients and running statistics, in both modes."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.engines.scratch import nn
from stages.engines.scratch.normalization import BatchNorm1d, BatchNorm2d
from stages.engines.scratch.sequential import Sequential
from tests.engines.scratch.against_torch import assert_layer_agrees, with_random_parameters

sizes = st.integers(1, 6)
seeds = st.integers(0, 2**32)


constants = st.sampled_from([(1e-5, 0.1), (1e-3, 0.3), (0.7, 1.0), (2.0, 0.0)])  # eps and momentum


@given(st.integers(2, 9), sizes, st.lists(st.integers(1, 5), max_size=1), constants, seeds, st.booleans())
def test_batch_norm_1d_agrees_with_torch(
    batch: int, channels: int, length: list[int], constants: tuple[float, float], seed: int, training: bool
) -> None:
    inputs = np.random.default_rng(seed).normal(1, 3, size=(batch, channels, *length))
    layer, module = BatchNorm1d(channels, *constants), torch.nn.BatchNorm1d(channels, *constants)
    assert_layer_agrees(layer, module, inputs, seed + 1, training)


@given(sizes, sizes, st.integers(1, 5), st.integers(2, 5), seeds, st.booleans(), st.booleans())
def test_batch_norm_2d_agrees_with_torch_for_any_memory_layout(
    batch: int, channels: int, height: int, width: int, seed: int, training: bool, batch_innermost: bool
) -> None:
    inputs = np.random.default_rng(seed).normal(1, 3, size=(batch, channels, height, width))
    if batch_innermost:  # the memory layout of a convolution's output
        inputs = np.moveaxis(np.ascontiguousarray(np.moveaxis(inputs, 0, -1)), -1, 0)
    assert_layer_agrees(BatchNorm2d(channels), torch.nn.BatchNorm2d(channels), inputs, seed + 1, training)


def test_running_statistics_agree_with_torch_from_the_first_of_20_batches() -> None:
    generator = np.random.default_rng(0)
    layer, module = BatchNorm1d(3, momentum=0.3), torch.nn.BatchNorm1d(3, momentum=0.3).double()
    Sequential(layer, dtype=np.float64)
    for _ in range(20):
        inputs = generator.normal(2, 5, size=(7, 3))
        layer.forward(inputs)
        module(torch.from_numpy(inputs))
    for name, buffer in layer.buffers.items():
        np.testing.assert_allclose(buffer, module.state_dict()[name], rtol=1e-9)


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d"])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 3, 1), (1, 3, 1, 1), (2, 3, 2, 2, 2)])
def test_one_value_per_channel_and_wrong_dimensions_are_rejected_as_torch_does(
    name: str, shape: tuple[int, ...]
) -> None:
    module, layer = getattr(torch.nn, name)(3), with_random_parameters(getattr(nn, name)(3), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"more than 1 value per channel|expected .*D input \(got") as rejected:
        module(torch.zeros(shape))
    expected = re.search(r"more than 1 value per channel|expected.*", str(rejected.value))
    assert expected
    with pytest.raises(ValueError, match=re.escape(expected[0])):
        layer.forward(np.zeros(shape))
