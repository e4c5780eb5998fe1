"""A stack of layers whose parameters lie in one flat vector, and their gradients in another."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from stages.scratch.layers import Array, Flatten, Layer, Linear, ReLU


class Network:
    """Layers one after the other.

    ``parameters`` and ``gradients`` are flat vectors; each layer's arrays are views into them, so an optimizer is a few
    lines over one vector and a gradient is written once, where the optimizer reads it.
    """

    def __init__(self, layers: Sequence[Layer], dtype: DTypeLike = np.float32) -> None:
        self.layers = list(layers)
        size = sum(math.prod(shape) for layer in layers for shape in layer.parameter_shapes().values())
        self.parameters: Array = np.zeros(size, dtype)
        self.gradients: Array = np.zeros(size, dtype)
        start = 0
        for layer in self.layers:
            for name, shape in layer.parameter_shapes().items():
                place = slice(start, start := start + math.prod(shape))
                layer.parameters[name] = self.parameters[place].reshape(shape)
                layer.gradients[name] = self.gradients[place].reshape(shape)
        self._first = next((index for index, layer in enumerate(self.layers) if layer.parameters), 0)

    def forward(self, inputs: Array) -> Array:
        """Return the output of the last layer."""
        for layer in self.layers:
            inputs = layer.forward(inputs)
        return inputs

    def backward(self, grad_output: Array) -> None:
        """Fill ``gradients``, from the last layer to the first that learns: nobody needs the gradient of the images."""
        for layer in reversed(self.layers[self._first + 1 :]):
            grad_output = layer.backward(grad_output)
        self.layers[self._first].backward_parameters(grad_output)

    def named_parameters(self) -> dict[str, Array]:
        """The parameters as views, named as ``torch.nn.Sequential`` names them: ``1.weight``, ``1.bias``, ..."""
        return {
            f"{index}.{name}": array
            for index, layer in enumerate(self.layers)
            for name, array in layer.parameters.items()
        }

    def load(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Copy in weights of the same names and shapes. Raises ValueError when they do not fit."""
        own = self.named_parameters()
        shapes, expected = ({name: array.shape for name, array in arrays.items()} for arrays in (state, own))
        if shapes != expected:
            raise ValueError(f"weights do not fit the network: expected {expected}, got {shapes}")
        for name, array in own.items():
            array[...] = state[name]


def dense_layers(sizes: Sequence[int]) -> list[Layer]:
    """Layers of a dense network: ``sizes`` are inputs, hidden units and outputs; ReLU after all but the last."""
    layers: list[Layer] = [Flatten()]
    for in_features, out_features in pairwise(sizes):
        layers += [Linear(in_features, out_features), ReLU()]
    return layers[:-1]
