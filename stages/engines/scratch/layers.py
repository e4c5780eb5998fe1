"""What a layer is, and the plain ones: each knows its output and, by the chain rule, its gradients.

Every layer maps a batch of N examples to a batch of N outputs. ``grad_output`` is the derivative of the loss L with
respect to the layer's last output; the layer never changes it, nor its inputs, nor what it has returned before.

Shapes are PyTorch's: vectors (N, features), pictures (N, channels, height, width). In memory, layers that multiply
matrices leave their outputs with N innermost, the faster order; pooling, normalisation and activations keep the order
that they are given.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.engines.scratch.parallel import Piece

Array = NDArray[np.floating[Any]]


class Layer:
    """A layer without parameters; those that learn override what concerns them.

    ``training`` says whether the network is learning or being used; a few layers then do different things. ``piece`` is
    the part of the batch that the next inputs are, by itself the whole.
    """

    parameters: dict[str, Array]
    gradients: dict[str, Array]
    buffers: dict[str, Array]

    def __init__(self) -> None:
        self.parameters, self.gradients, self.buffers = {}, {}, {}
        self.training = True
        self.piece = Piece()

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of what the layer learns. The network owns that memory and fills in the arrays."""
        return {}

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of what the layer keeps beside its parameters, without a gradient."""
        return {}

    def reset(self) -> None:
        """Give parameters and buffers that do not start at 0, nor at random, their first values."""

    def forward(self, inputs: Array) -> Array:
        """Return the output for ``inputs`` and remember what the backward pass needs."""
        raise NotImplementedError

    def backward(self, grad_output: Array) -> Array:
        """Store the gradients of the parameters and return that of the input."""
        self.backward_parameters(grad_output)
        return self.backward_input(grad_output)

    def backward_parameters(self, grad_output: Array) -> None:
        """Write ∂L/∂parameter for every parameter into ``gradients``."""

    def backward_input(self, grad_output: Array) -> Array:
        """Return ∂L/∂input, of the input's shape."""
        raise NotImplementedError


class Flatten(Layer):
    """(N, a, b, ...) -> (N, a·b·...)."""

    def forward(self, inputs: Array) -> Array:
        self._inputs = inputs
        return inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))

    def backward_input(self, grad_output: Array) -> Array:
        gradient = np.empty_like(self._inputs)  # in the order in which its inputs lie in memory
        gradient[...] = grad_output.reshape(gradient.shape)
        return gradient


class Linear(Layer):
    """Y = X Wᵀ + b: inputs X (N, in_features), weight W (out_features, in_features), bias b (out_features,)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = in_features, out_features, bias

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        weight: dict[str, tuple[int, ...]] = {"weight": (self.out_features, self.in_features)}
        return weight | {"bias": (self.out_features,)} if self.bias else weight

    def forward(self, inputs: Array) -> Array:
        self._inputs = inputs
        outputs = self.parameters["weight"] @ inputs.T
        if self.bias:
            outputs += self.parameters["bias"][:, None]
        return outputs.T

    def backward_parameters(self, grad_output: Array) -> None:
        """Each example adds its share: ∂L/∂W = Gᵀ X, ∂L/∂b = Σₙ Gₙ, with G = ``grad_output`` (N, out_features)."""
        np.matmul(grad_output.T, self._inputs, out=self.gradients["weight"])
        if self.bias:
            np.sum(grad_output, axis=0, out=self.gradients["bias"])

    def backward_input(self, grad_output: Array) -> Array:
        """Every output carries its gradient back along the weights that made it: ∂L/∂X = G W."""
        return (self.parameters["weight"].T @ grad_output.T).T


class Dropout(Layer):
    """Sets each input to 0 with ``probability`` while training, and leaves all as they are in use.

    Those that stay are divided by 1 − probability, so that a sum over them keeps its expected value (inverted dropout,
    Srivastava et al. 2014).
    """

    def __init__(self, probability: float, generator: np.random.Generator) -> None:
        super().__init__()
        self.probability, self.generator = probability, generator

    def forward(self, inputs: Array) -> Array:
        self._scale = np.ones(1, inputs.dtype)
        if self.training:  # the first piece draws for all, so that their number changes nothing
            (examples,) = self.piece.total(len(inputs))
            scale = self.draw((examples, *inputs.shape[1:]), inputs.dtype) if self.piece.index == 0 else None
            self._scale = self.piece.gather(scale)[0][self.piece.rows]
        return inputs * self._scale

    def draw(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """0 for every input that is dropped, 1 / (1 − probability) for the others."""
        kept = self.generator.random(shape, np.float32) >= self.probability
        scale: Array = kept / dtype.type(1 - self.probability)
        return scale

    def backward_input(self, grad_output: Array) -> Array:
        return grad_output * self._scale
