"""A stack of layers whose parameters lie in one flat vector, and their gradients in another."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from stages.engines.scratch.layers import Array, Layer
from stages.engines.scratch.parallel import Piece

Shapes = dict[str, tuple[int, ...]]


class Network:
    """Layers one after the other.

    ``parameters`` and ``gradients`` are flat vectors, and so are the ``buffers``; each layer's arrays are views into
    them, so an optimizer is a few lines over one vector and a gradient is written once, where the optimizer reads it.
    """

    def __init__(self, layers: Sequence[Layer], dtype: DTypeLike = np.float32) -> None:
        self.layers = list(layers)
        self.parameters, self.gradients = _shared(layers, "parameter", dtype, "parameters", "gradients")
        (self.buffers,) = _shared(layers, "buffer", dtype, "buffers")
        for layer in self.layers:
            layer.reset()
        self._first = next((index for index, layer in enumerate(self.layers) if layer.parameters), 0)

    def share(self, other: "Network") -> None:
        """Take the parameters and buffers of an equal network for one's own. The gradients stay apart."""
        self.parameters, self.buffers = other.parameters, other.buffers
        for layer, others in zip(self.layers, other.layers, strict=True):
            layer.parameters, layer.buffers = others.parameters, others.buffers

    def forward(self, inputs: Array, training: bool = True, piece: Piece | None = None) -> Array:
        """Return the output of the last layer, as it is while ``training`` or in use, for one piece of a batch."""
        for layer in self.layers:
            layer.training, layer.piece = training, piece or Piece()
            inputs = layer.forward(inputs)
        return inputs

    def backward(self, grad_output: Array) -> None:
        """Fill ``gradients``, from the last layer to the first that learns: nobody needs the gradient of the images."""
        for layer in reversed(self.layers[self._first + 1 :]):
            grad_output = layer.backward(grad_output)
        self.layers[self._first].backward_parameters(grad_output)

    def state(self) -> dict[str, Array]:
        """Parameters and buffers as views, named as ``torch.nn.Sequential`` names them: ``1.weight``, ..."""
        return {
            f"{index}.{name}": array
            for index, layer in enumerate(self.layers)
            for name, array in (layer.parameters | layer.buffers).items()
        }

    def load(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Copy in parameters and buffers of the same names and shapes. Raises ValueError when they do not fit."""
        require_fit(state, self.layers)
        for name, array in self.state().items():
            array[...] = state[name]


def _shared(layers: Sequence[Layer], kind: str, dtype: DTypeLike, *attributes: str) -> list[Array]:
    """A flat vector for each of the ``attributes`` of the layers, which become views of it. All begin at 0."""
    shapes: list[tuple[Layer, Shapes]] = [(layer, getattr(layer, f"{kind}_shapes")()) for layer in layers]
    size = sum(math.prod(shape) for _, named in shapes for shape in named.values())
    vectors: list[Array] = [np.zeros(size, dtype) for _ in attributes]
    start = 0
    for layer, named in shapes:
        for name, shape in named.items():
            place = slice(start, start := start + math.prod(shape))
            for attribute, vector in zip(attributes, vectors, strict=True):
                getattr(layer, attribute)[name] = vector[place].reshape(shape)
    return vectors


def require_fit(state: Mapping[str, np.ndarray[Any, Any]], layers: Sequence[Layer]) -> None:
    """Raise ValueError unless ``state`` has the names and shapes of these layers' parameters and buffers."""
    shapes: Shapes = {name: array.shape for name, array in state.items()}
    expected = {
        f"{index}.{name}": shape
        for index, layer in enumerate(layers)
        for name, shape in (layer.parameter_shapes() | layer.buffer_shapes()).items()
    }
    if shapes != expected:
        raise ValueError(f"weights do not fit the network: expected {expected}, got {shapes}")
