"""Random initial weights whose scale keeps signals the same size from layer to layer."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Initializer = Callable[[np.random.Generator, int, int], NDArray[np.float64]]


def xavier_uniform(generator: np.random.Generator, fan_out: int, fan_in: int) -> NDArray[np.float64]:
    """U(−a, a) with a = √(6 / (fan_in + fan_out)), shape (fan_out, fan_in) (Glorot & Bengio 2010, eq. 16)."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return generator.uniform(-bound, bound, (fan_out, fan_in))


def xavier_normal(generator: np.random.Generator, fan_out: int, fan_in: int) -> NDArray[np.float64]:
    """N(0, 2 / (fan_in + fan_out)), shape (fan_out, fan_in) (Glorot & Bengio 2010, eq. 12)."""
    return generator.normal(0, math.sqrt(2 / (fan_in + fan_out)), (fan_out, fan_in))


def he_uniform(generator: np.random.Generator, fan_out: int, fan_in: int) -> NDArray[np.float64]:
    """U(−a, a) with a = √(6 / fan_in), for ReLU, shape (fan_out, fan_in) (He et al. 2015, eq. 10, as a uniform)."""
    bound = math.sqrt(6 / fan_in)
    return generator.uniform(-bound, bound, (fan_out, fan_in))


def he_normal(generator: np.random.Generator, fan_out: int, fan_in: int) -> NDArray[np.float64]:
    """N(0, 2 / fan_in), for ReLU, shape (fan_out, fan_in) (He et al. 2015, eq. 10)."""
    return generator.normal(0, math.sqrt(2 / fan_in), (fan_out, fan_in))


INITIALIZERS: dict[str, Initializer] = {
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
}
