"""A stack of layers whose parameters are views into one flat vector, and their gradients into another."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from stages.engines.scratch.layers import Array, Module
from stages.engines.scratch.parallel import Shard

Shapes = dict[str, tuple[int, ...]]


class Sequential:
    """Layers applied one after the other, in training mode until :meth:`eval`.

    ``parameters``, ``gradients`` and ``buffers`` are flat vectors, into which each layer's arrays are views: an
    optimizer works on one vector, and a gradient is written where the optimizer reads it.
    """

    def __init__(self, *layers: Module, dtype: DTypeLike = np.float32) -> None:
        self.layers = list(layers)
        self.parameters, self.gradients = _allocate(layers, "parameter", dtype, "parameters", "gradients")
        (self.buffers,) = _allocate(layers, "buffer", dtype, "buffers")
        self.reset_parameters()
        self._first_trainable = next((index for index, layer in enumerate(self.layers) if layer.parameters), 0)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Module:
        return self.layers[index]

    def reset_parameters(self) -> None:
        """Initialize what starts neither at zero nor at random."""
        for layer in self.layers:
            layer.reset_parameters()

    def tie_parameters(self, other: "Sequential") -> None:
        """Use the parameters and buffers of an equal network in place of one's own; gradients stay separate."""
        self.parameters, self.buffers = other.parameters, other.buffers
        for layer, tied in zip(self.layers, other.layers, strict=True):
            layer.parameters, layer.buffers = tied.parameters, tied.buffers

    def train(self, mode: bool = True) -> Self:
        """Set training mode, or inference mode with ``mode=False``."""
        for layer in self.layers:
            layer.training = mode
        return self

    def eval(self) -> Self:
        """Set inference mode."""
        return self.train(False)

    def set_shard(self, shard: Shard) -> None:
        """Say which shard of a batch the next input is."""
        for layer in self.layers:
            layer.shard = shard

    def forward(self, x: Array) -> Array:
        """Return the output of the last layer."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, grad_output: Array) -> None:
        """Fill ``gradients``, from the last layer to the first trainable one, whose input needs no gradient."""
        for layer in reversed(self.layers[self._first_trainable + 1 :]):
            grad_output = layer.backward(grad_output)
        self.layers[self._first_trainable].backward_parameters(grad_output)

    def state_dict(self) -> dict[str, Array]:
        """Parameters and buffers as views, named as torch.nn.Sequential names them: ``1.weight``, ..."""
        return {
            f"{index}.{name}": array
            for index, layer in enumerate(self.layers)
            for name, array in (layer.parameters | layer.buffers).items()
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Copy in parameters and buffers. Raises ValueError when names or shapes do not fit."""
        check_state_dict(state, self.layers)
        for name, array in self.state_dict().items():
            array[...] = state[name]


def _allocate(layers: Sequence[Module], kind: str, dtype: DTypeLike, *attributes: str) -> list[Array]:
    """Allocate one flat vector of zeros for each of ``attributes``, and make the layers' arrays views into it."""
    shapes: list[tuple[Module, Shapes]] = [(layer, getattr(layer, f"{kind}_shapes")()) for layer in layers]
    size = sum(math.prod(shape) for _, named in shapes for shape in named.values())
    vectors: list[Array] = [np.zeros(size, dtype) for _ in attributes]
    start = 0
    for layer, named in shapes:
        for name, shape in named.items():
            span = slice(start, start := start + math.prod(shape))
            for attribute, vector in zip(attributes, vectors, strict=True):
                getattr(layer, attribute)[name] = vector[span].reshape(shape)
    return vectors


def check_state_dict(state: Mapping[str, np.ndarray[Any, Any]], layers: Iterable[Module]) -> None:
    """Raise ValueError unless ``state`` has the names and shapes of these layers' parameters and buffers.

    The layers need no memory of their own, so a state dict can be checked before a network is allocated for it.
    """
    shapes: Shapes = {name: array.shape for name, array in state.items()}
    expected = {
        f"{index}.{name}": shape
        for index, layer in enumerate(layers)
        for name, shape in (layer.parameter_shapes() | layer.buffer_shapes()).items()
    }
    if shapes != expected:
        raise ValueError(f"weights do not fit the network: expected {expected}, got {shapes}")
