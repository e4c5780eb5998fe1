"""One helper for all layers: the same input and upstream gradient through ours and through torch.autograd."""

from typing import Any

import numpy as np
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from stages.scratch.layers import Layer
from stages.scratch.network import Network

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # in float64; the absolute one is for sums that cancel to nearly 0


def assert_close(actual: NDArray[Any], expected: torch.Tensor) -> None:
    assert actual.dtype == np.float64
    assert_allclose(actual, expected.detach().numpy(), rtol=RELATIVE, atol=ABSOLUTE)


def assert_layer_agrees(layer: Layer, module: torch.nn.Module, inputs: NDArray[np.float64], seed: int) -> None:
    """Forward, and backward under a random upstream gradient; neither pass may write into its argument."""
    generator = np.random.default_rng(seed)
    network = Network([layer], np.float64)
    network.parameters[...] = generator.normal(size=network.parameters.size)
    network.gradients[...] = np.nan  # every element must be written, none added to
    module.double()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in layer.parameters.items()})
    torch_inputs = torch.from_numpy(inputs.copy()).requires_grad_()
    given_inputs = inputs.copy()

    outputs, torch_outputs = layer.forward(inputs), module(torch_inputs)
    assert_close(outputs, torch_outputs)

    grad_output = generator.normal(size=outputs.shape)
    given_gradient = grad_output.copy()
    torch_outputs.backward(torch.from_numpy(grad_output))
    assert torch_inputs.grad is not None
    assert_close(layer.backward(grad_output), torch_inputs.grad)
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        assert_close(layer.gradients[name], parameter.grad)
    assert (inputs == given_inputs).all()
    assert (grad_output == given_gradient).all()
