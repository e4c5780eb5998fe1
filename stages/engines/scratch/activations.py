"""The activations: functions of single numbers that make a stack of layers more than one matrix product.

By the chain rule ∂L/∂x = f′(x) ∂L/∂y for y = f(x); most f′ are cheapest from y.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial import Chebyshev

from stages.engines.scratch.layers import Array, Layer


class ReLU(Layer):
    """max(x, 0); the gradient passes where the output is positive, and is 0 at 0 as in PyTorch."""

    def forward(self, inputs: Array) -> Array:
        self._outputs = np.maximum(inputs, 0)
        return self._outputs

    def backward_input(self, grad_output: Array) -> Array:
        return grad_output * (self._outputs > 0)


class LeakyReLU(Layer):
    """x where x > 0, else x / 100, so that no unit stops learning (Maas et al. 2013)."""

    slope = 0.01

    def forward(self, inputs: Array) -> Array:
        self._inputs = inputs
        outputs: Array = np.maximum(inputs, self.slope * inputs)
        return outputs

    def backward_input(self, grad_output: Array) -> Array:
        gradient: Array = np.where(self._inputs > 0, grad_output, self.slope * grad_output)
        return gradient


class Sigmoid(Layer):
    """σ(x) = 1 / (1 + e⁻ˣ), with σ′ = σ (1 − σ)."""

    def forward(self, inputs: Array) -> Array:
        small = np.exp(-np.abs(inputs))  # never overflows
        outputs: Array = np.where(inputs >= 0, 1, small) / (1 + small)
        self._outputs = outputs
        return outputs

    def backward_input(self, grad_output: Array) -> Array:
        slope: Array = self._outputs * (1 - self._outputs)
        return grad_output * slope


class Tanh(Layer):
    """tanh x, with tanh′ = 1 − tanh²."""

    def forward(self, inputs: Array) -> Array:
        self._outputs: Array = np.tanh(inputs)
        return self._outputs

    def backward_input(self, grad_output: Array) -> Array:
        slope: Array = 1 - self._outputs * self._outputs
        return grad_output * slope


class GELU(Layer):
    """x Φ(x), with Φ the normal distribution function (Hendrycks & Gimpel 2016); its slope is Φ(x) + x φ(x)."""

    def forward(self, inputs: Array) -> Array:
        self._inputs = inputs
        self._normal = (1 + erf(inputs / math.sqrt(2))) / 2
        return inputs * self._normal

    def backward_input(self, grad_output: Array) -> Array:
        density = np.exp(-self._inputs * self._inputs / 2) / math.sqrt(2 * math.pi)
        return grad_output * (self._normal + self._inputs * density)


# NumPy has no error function. erf(x) / x is smooth in x², so that a polynomial in x² does.
_ERF_END = 6.0  # from here on, erf is 1 to the last digit
_ERF_RATIO = Chebyshev.interpolate(
    np.vectorize(lambda square: math.erf(math.sqrt(square)) / math.sqrt(square)), 40, domain=[0, _ERF_END**2]
)


def erf(x: Array) -> Array:
    """The error function of each element, to 13 digits, in the dtype of ``x``."""
    inside = np.clip(x, -_ERF_END, _ERF_END)
    return np.where(np.abs(x) < _ERF_END, inside * _ERF_RATIO(inside * inside), np.sign(x)).astype(x.dtype)


ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "gelu": GELU,
}
