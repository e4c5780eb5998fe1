"""Activation functions: elementwise nonlinearities, without which a stack of layers would be one matrix product.

By the chain rule ∂L/∂x = f′(x) ∂L/∂y for y = f(x); most f′ are cheapest from y.
"""

import itertools
import math

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from stages.engines.scratch.layers import Array, Module


class ReLU(Module):
    """max(x, 0); the gradient passes where the output is positive, and is 0 at 0 as in PyTorch."""

    def forward(self, x: Array) -> Array:
        self._outputs = np.maximum(x, 0)
        return self._outputs

    def backward_input(self, grad_output: Array) -> Array:
        return grad_output * (self._outputs > 0)


class LeakyReLU(Module):
    """x where x > 0, else ``negative_slope`` · x, so that no unit stops training (Maas et al. 2013)."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> Array:
        self._x = x
        select = np.maximum if self.negative_slope <= 1 else np.minimum
        outputs: Array = select(x, self.negative_slope * x)
        return outputs

    def backward_input(self, grad_output: Array) -> Array:
        gradient: Array = np.where(self._x > 0, grad_output, self.negative_slope * grad_output)
        return gradient


class Sigmoid(Module):
    """σ(x) = 1 / (1 + e⁻ˣ), with σ′ = σ (1 − σ)."""

    def forward(self, x: Array) -> Array:
        small = np.exp(-np.abs(x))  # never overflows
        outputs: Array = np.where(x >= 0, 1, small) / (1 + small)
        self._outputs = outputs
        return outputs

    def backward_input(self, grad_output: Array) -> Array:
        slope: Array = self._outputs * (1 - self._outputs)
        return grad_output * slope


class Tanh(Module):
    """tanh x, with tanh′ = 1 − tanh²."""

    def forward(self, x: Array) -> Array:
        self._outputs: Array = np.tanh(x)
        return self._outputs

    def backward_input(self, grad_output: Array) -> Array:
        slope: Array = 1 - self._outputs * self._outputs
        return grad_output * slope


class GELU(Module):
    """x Φ(x), with Φ the standard normal CDF (Hendrycks & Gimpel 2016) and φ its density; the derivative is Φ + x φ."""

    def forward(self, x: Array) -> Array:
        self._x = x
        self._cdf = (1 + erf(x / math.sqrt(2))) / 2
        return x * self._cdf

    def backward_input(self, grad_output: Array) -> Array:
        density = np.exp(-self._x * self._x / 2) / math.sqrt(2 * math.pi)
        return grad_output * (self._cdf + self._x * density)


def _erf_ratio(square: float) -> float:
    """erf(x) / x for x² = ``square`` (Abramowitz & Stegun 7.1.6); releases of the C library differ in their own erf."""
    terms = itertools.accumulate(range(1, 200), lambda term, n: term * 2 * square / (2 * n + 1), initial=1.0)
    return 2 / math.sqrt(math.pi) * math.exp(-square) * math.fsum(terms)


def _erf_polynomial(end: float, degree: int) -> tuple[float, list[float]]:
    """Approximate erf(x) / x on |x| < ``end``: coefficients of the powers of u = 2 x² / end² − 1, highest first."""
    series = Chebyshev.interpolate(np.vectorize(_erf_ratio), degree, domain=[0, end**2])
    return end, series.convert(kind=Polynomial, domain=[0, end**2], window=[-1, 1]).coef[::-1].tolist()


# NumPy has no erf. erf(x) / x is a smooth function of x², so a polynomial in x² approximates it, of as many terms as
# the dtype can show. From its end on, erf is ±1 to the dtype's last digit.
_ERF_POLYNOMIALS = {np.dtype(np.float32): _erf_polynomial(3.92, 16), np.dtype(np.float64): _erf_polynomial(6.0, 40)}


def erf(x: Array) -> Array:
    """The error function, elementwise, in the dtype of ``x``: to a relative 4e-7 in float32, 1e-13 in float64."""
    end, (highest, *coefficients) = _ERF_POLYNOMIALS[x.dtype]
    inside = np.clip(x, -end, end)
    u = inside * inside * (2 / end**2) - 1
    ratio = np.full_like(u, highest)
    for coefficient in coefficients:  # Horner's method
        ratio *= u
        ratio += coefficient
    ratio *= inside
    return np.where(np.abs(x) < end, ratio, np.sign(x))
