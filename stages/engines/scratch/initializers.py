"""Random initial weights whose scale keeps signals the same size from layer to layer.

A weight (outputs, inputs) or (outputs, inputs, height, width) has ``fan_in`` weights to each output, and ``fan_out``
from each input; in a convolution every pixel of the kernel counts.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Initializer = Callable[[np.random.Generator, Shape], NDArray[np.float64]]


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of this shape."""
    outputs, inputs, *kernel = shape
    return inputs * math.prod(kernel), outputs * math.prod(kernel)


def xavier_uniform(generator: np.random.Generator, shape: Shape) -> NDArray[np.float64]:
    """U(−a, a) with a = √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    bound = math.sqrt(6 / sum(fans(shape)))
    return generator.uniform(-bound, bound, shape)


def xavier_normal(generator: np.random.Generator, shape: Shape) -> NDArray[np.float64]:
    """N(0, 2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12)."""
    return generator.normal(0, math.sqrt(2 / sum(fans(shape))), shape)


def he_uniform(generator: np.random.Generator, shape: Shape) -> NDArray[np.float64]:
    """U(−a, a) with a = √(6 / fan_in), for ReLU (He et al. 2015, eq. 10, as a uniform)."""
    bound = math.sqrt(6 / fans(shape)[0])
    return generator.uniform(-bound, bound, shape)


def he_normal(generator: np.random.Generator, shape: Shape) -> NDArray[np.float64]:
    """N(0, 2 / fan_in), for ReLU (He et al. 2015, eq. 10)."""
    return generator.normal(0, math.sqrt(2 / fans(shape)[0]), shape)


INITIALIZERS: dict[str, Initializer] = {
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
}
