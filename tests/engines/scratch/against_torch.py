"""One helper for all layers: the same input and upstream gradient through ours and through torch.autograd."""

from typing import Any

import numpy as np
import torch
from numpy.testing import assert_allclose
from numpy.typing import DTypeLike, NDArray

from stages.engines.scratch.layers import Module
from stages.engines.scratch.sequential import Sequential

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # in float64; the absolute one is for sums that nearly cancel


def assert_close(actual: NDArray[Any], expected: torch.Tensor, absolute: float = ABSOLUTE) -> None:
    assert actual.dtype == np.float64
    assert_allclose(actual, expected.detach().numpy(), rtol=RELATIVE, atol=absolute)


def with_random_parameters(layer: Module, generator: np.random.Generator, dtype: DTypeLike = np.float64) -> Module:
    """Allocate a layer's arrays, with random parameters and buffers."""
    network = Sequential(layer, dtype=dtype)
    network.parameters[...] = generator.normal(size=network.parameters.size)
    network.buffers[...] = generator.uniform(0.5, 2, size=network.buffers.size)
    network.gradients[...] = np.nan  # every element must be overwritten, none added to
    return layer


def assert_layer_agrees(
    layer: Module, module: torch.nn.Module, inputs: NDArray[np.float64], seed: int, training: bool = True
) -> None:
    """Compare outputs, buffers, and all gradients under a random upstream gradient.

    Neither pass may write into its argument or into what an earlier call has returned, and float32 stays float32.
    """
    generator = np.random.default_rng(seed)
    with_random_parameters(layer, generator)
    layer.training = training
    module.double().train(training)
    ours = layer.parameters | layer.buffers
    module.load_state_dict(module.state_dict() | {name: torch.from_numpy(array.copy()) for name, array in ours.items()})
    torch_inputs = torch.from_numpy(inputs.copy()).requires_grad_()
    given_inputs = inputs.copy()

    outputs, torch_outputs = layer.forward(inputs), module(torch_inputs)
    assert_close(outputs, torch_outputs)
    for name, buffer in layer.buffers.items():
        assert_close(buffer, module.state_dict()[name])

    grad_output = generator.normal(size=outputs.shape)
    given_gradient = grad_output.copy()
    torch_outputs.backward(torch.from_numpy(grad_output))
    assert torch_inputs.grad is not None
    grad_input = layer.backward(grad_output)
    assert_close(grad_input, torch_inputs.grad)
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        assert_close(layer.gradients[name], parameter.grad)
    assert (inputs == given_inputs).all()
    assert (grad_output == given_gradient).all()

    returned = [outputs.copy(), grad_input.copy()]
    layer.forward(inputs + 1)
    layer.backward(grad_output + 1)
    assert (outputs == returned[0]).all()
    assert (grad_input == returned[1]).all()
    assert_float32_stays_float32(layer, inputs, grad_output)


def assert_float32_stays_float32(layer: Module, inputs: NDArray[Any], grad_output: NDArray[Any]) -> None:
    with_random_parameters(layer, np.random.default_rng(0), np.float32)
    assert layer.forward(inputs.astype(np.float32)).dtype == np.float32
    assert layer.backward(grad_output.astype(np.float32)).dtype == np.float32
