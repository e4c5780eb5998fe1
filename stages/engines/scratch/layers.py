"""The layer interface and the basic layers: each computes its output and, by the chain rule, its gradients.

A layer maps a batch of N examples to a batch of N outputs. ``grad_output`` is the gradient of the loss L with respect
to the layer's last output. A layer never writes into ``grad_output``, its input, or an array it has returned.

Shapes are PyTorch's: vectors (N, features), images and feature maps (N, channels, height, width). In memory, Linear and
Conv2d leave N innermost, the faster layout for their matrix products; pooling, normalization and activations keep the
memory layout of their input.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.engines.scratch.parallel import Shard

Array = NDArray[np.floating[Any]]


class Module:
    """The interface of a layer, here one without parameters; layers with parameters override what concerns them.

    ``training`` selects training mode or inference (eval) mode, which differ in Dropout and BatchNorm. ``shard`` is the
    part of the batch that the next input holds; by default the whole batch.
    """

    parameters: dict[str, Array]
    gradients: dict[str, Array]
    buffers: dict[str, Array]

    def __init__(self) -> None:
        self.parameters, self.gradients, self.buffers = {}, {}, {}
        self.training = True
        self.shard = Shard()

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each parameter. Sequential allocates the memory and fills in the arrays."""
        return {}

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each buffer: state that is saved with the parameters but has no gradient."""
        return {}

    def reset_parameters(self) -> None:
        """Initialize what starts neither at zero nor at random, such as BatchNorm's scale of 1."""

    def forward(self, x: Array) -> Array:
        """Return the output for a batch ``x`` and keep what the backward pass needs."""
        raise NotImplementedError

    def backward(self, grad_output: Array) -> Array:
        """Store the gradients of the parameters and return the gradient of the input."""
        self.backward_parameters(grad_output)
        return self.backward_input(grad_output)

    def backward_parameters(self, grad_output: Array) -> None:
        """Write ∂L/∂parameter into ``gradients`` for every parameter."""

    def backward_input(self, grad_output: Array) -> Array:
        """Return ∂L/∂x, of the input's shape."""
        raise NotImplementedError


class Flatten(Module):
    """(N, a, b, ...) -> (N, a·b·...)."""

    def forward(self, x: Array) -> Array:
        self._x = x
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward_input(self, grad_output: Array) -> Array:
        gradient = np.empty_like(self._x)  # in the input's memory layout
        gradient[...] = grad_output.reshape(gradient.shape)
        return gradient


class Linear(Module):
    """Y = X Wᵀ + b: input X (N, in_features), weight W (out_features, in_features), bias b (out_features,)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features, self.has_bias = in_features, out_features, bias

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        weight: dict[str, tuple[int, ...]] = {"weight": (self.out_features, self.in_features)}
        return weight | {"bias": (self.out_features,)} if self.has_bias else weight

    def forward(self, x: Array) -> Array:
        self._x = x
        outputs = self.parameters["weight"] @ x.T
        if self.has_bias:
            outputs += self.parameters["bias"][:, None]
        return outputs.T

    def backward_parameters(self, grad_output: Array) -> None:
        """Sum over the examples: ∂L/∂W = Gᵀ X and ∂L/∂b = Σₙ Gₙ, with G = ``grad_output`` (N, out_features)."""
        np.matmul(grad_output.T, self._x, out=self.gradients["weight"])
        if self.has_bias:
            np.sum(grad_output, axis=0, out=self.gradients["bias"])

    def backward_input(self, grad_output: Array) -> Array:
        """Propagate each output's gradient back through the weights that produced it: ∂L/∂X = G W."""
        return (self.parameters["weight"].T @ grad_output.T).T


class Dropout(Module):
    """Zeroes each input with probability ``p`` in training, and is the identity at inference.

    The remaining inputs are divided by 1 − p, which keeps their expected value (inverted dropout, Srivastava et al.
    2014). Masks are drawn from ``generator``.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p
        self.generator = np.random.default_rng()

    def forward(self, x: Array) -> Array:
        self._mask = np.ones(1, x.dtype)
        if self.training:  # rank 0 draws for the whole batch, so the masks do not depend on the number of shards
            (batch_size,) = self.shard.all_reduce(len(x))
            mask = self.sample_mask((batch_size, *x.shape[1:]), x.dtype) if self.shard.rank == 0 else None
            self._mask = self.shard.all_gather(mask)[0][self.shard.examples]
        return x * self._mask

    def sample_mask(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """0 for every input that is dropped, 1 / (1 − p) for the others."""
        is_kept = self.generator.random(shape, np.float32) >= self.p
        mask: Array = is_kept / dtype.type(1 - self.p)
        return mask

    def backward_input(self, grad_output: Array) -> Array:
        return grad_output * self._mask
