"""Batch normalisation agrees with torch in float64: outputs, gradients and running statistics, in both modes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.engines.scratch.normalization import BatchNorm
from tests.engines.scratch.against_torch import assert_layer_agrees, with_random_state

sizes = st.integers(1, 6)
seeds = st.integers(0, 2**32)


@given(st.integers(2, 9), sizes, seeds, st.booleans())
def test_of_vectors(batch: int, channels: int, seed: int, training: bool) -> None:
    inputs = np.random.default_rng(seed).normal(1, 3, size=(batch, channels))
    assert_layer_agrees(BatchNorm(channels), torch.nn.BatchNorm1d(channels), inputs, seed + 1, training)


@given(sizes, sizes, st.integers(1, 5), st.integers(2, 5), seeds, st.booleans(), st.booleans())
def test_of_pictures(
    batch: int, channels: int, height: int, width: int, seed: int, training: bool, batch_innermost: bool
) -> None:
    inputs = np.random.default_rng(seed).normal(1, 3, size=(batch, channels, height, width))
    if batch_innermost:  # as convolution leaves its output in memory
        inputs = np.moveaxis(np.ascontiguousarray(np.moveaxis(inputs, 0, -1)), -1, 0)
    assert_layer_agrees(BatchNorm(channels), torch.nn.BatchNorm2d(channels), inputs, seed + 1, training)


def test_running_statistics_follow_torch_over_20_batches() -> None:
    generator = np.random.default_rng(0)
    layer, module = BatchNorm(3), torch.nn.BatchNorm1d(3).double()
    with_random_state(layer, generator)
    layer.reset()
    for name in layer.buffers:
        layer.buffers[name][...] = module.state_dict()[name]
    for _ in range(20):
        inputs = generator.normal(2, 5, size=(7, 3))
        layer.forward(inputs)
        module(torch.from_numpy(inputs))
    for name, buffer in layer.buffers.items():
        np.testing.assert_allclose(buffer, module.state_dict()[name], rtol=1e-9)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_one_value_a_channel_is_refused_as_torch_does(shape: tuple[int, ...]) -> None:
    module = torch.nn.BatchNorm1d(3) if len(shape) == 2 else torch.nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        module(torch.zeros(shape))
    layer = with_random_state(BatchNorm(3), np.random.default_rng(0))
    with pytest.raises(ValueError, match="more than one value a channel"):
        layer.forward(np.zeros(shape))
