"""The layers: each knows its output and, by the chain rule, its gradients.

Every layer maps a batch of N examples to a batch of N outputs. ``grad_output`` is the derivative of the loss L with
respect to the layer's last output; the layer never changes it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


class Layer:
    """A layer without parameters; those that learn override what concerns them."""

    parameters: dict[str, Array]
    gradients: dict[str, Array]

    def __init__(self) -> None:
        self.parameters, self.gradients = {}, {}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of what the layer learns. The network owns that memory and fills in the arrays."""
        return {}

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
        self._shape = inputs.shape
        return inputs.reshape(len(inputs), -1)

    def backward_input(self, grad_output: Array) -> Array:
        return grad_output.reshape(self._shape)


class Linear(Layer):
    """Y = X Wᵀ + b: inputs X (N, in_features), weight W (out_features, in_features), bias b (out_features,)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.out_features, self.in_features), "bias": (self.out_features,)}

    def forward(self, inputs: Array) -> Array:
        self._inputs = inputs
        outputs = inputs @ self.parameters["weight"].T
        outputs += self.parameters["bias"]
        return outputs

    def backward_parameters(self, grad_output: Array) -> None:
        """Each example adds its share: ∂L/∂W = Gᵀ X, ∂L/∂b = Σₙ Gₙ, with G = ``grad_output`` (N, out_features)."""
        np.matmul(grad_output.T, self._inputs, out=self.gradients["weight"])
        np.sum(grad_output, axis=0, out=self.gradients["bias"])

    def backward_input(self, grad_output: Array) -> Array:
        """Every output carries its gradient back along the weights that made it: ∂L/∂X = G W."""
        return grad_output @ self.parameters["weight"]


class ReLU(Layer):
    """max(x, 0), elementwise; the gradient passes where the output is positive, and is 0 at 0 as in PyTorch."""

    def forward(self, inputs: Array) -> Array:
        self._outputs = np.maximum(inputs, 0)
        return self._outputs

    def backward_input(self, grad_output: Array) -> Array:
        return grad_output * (self._outputs > 0)
