"""Random initial weights whose scale keeps the variance of activations and gradients from layer to layer.

A weight (out, in) or (out, in, kernel height, kernel width) has fan_in = in · kernel height · kernel width inputs to
each output, and fan_out = out · kernel height · kernel width. Each function fills ``tensor`` in place and returns it;
draws are float64, cast to the tensor's dtype. Names and defaults are those of torch.nn.init.
"""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Mode = Literal["fan_in", "fan_out"]
Nonlinearity = Literal["relu", "leaky_relu"]


def xavier_uniform_(tensor: Array, gain: float = 1.0, generator: np.random.Generator | None = None) -> Array:
    """U(−b, b) with b = gain √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    return _uniform(tensor, gain * math.sqrt(6 / sum(_fans(tensor))), generator)


def xavier_normal_(tensor: Array, gain: float = 1.0, generator: np.random.Generator | None = None) -> Array:
    """N(0, gain² · 2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12)."""
    return _normal(tensor, gain * math.sqrt(2 / sum(_fans(tensor))), generator)


def kaiming_uniform_(
    tensor: Array,
    a: float = 0,
    mode: Mode = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
    generator: np.random.Generator | None = None,
) -> Array:
    """U(−b, b) with b = √(6 / ((1 + a²) fan)), for a leaky ReLU of slope ``a`` (He et al. 2015, eq. 15, as uniform)."""
    return _uniform(tensor, math.sqrt(6 / _scaled_fan(tensor, a, mode, nonlinearity)), generator)


def kaiming_normal_(
    tensor: Array,
    a: float = 0,
    mode: Mode = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
    generator: np.random.Generator | None = None,
) -> Array:
    """N(0, 2 / ((1 + a²) fan)), for a leaky ReLU of slope ``a`` (He et al. 2015, eq. 15)."""
    return _normal(tensor, math.sqrt(2 / _scaled_fan(tensor, a, mode, nonlinearity)), generator)


def _fans(tensor: Array) -> tuple[int, int]:
    """(fan_in, fan_out)."""
    outputs, inputs, *kernel = tensor.shape
    return inputs * math.prod(kernel), outputs * math.prod(kernel)


def _scaled_fan(tensor: Array, a: float, mode: Mode, nonlinearity: Nonlinearity) -> float:
    """(1 + a²) fan, where ReLU is the leaky ReLU with a = 0. Raises KeyError for another mode or nonlinearity."""
    slope = {"relu": 0, "leaky_relu": a}[nonlinearity]
    fan = _fans(tensor)[{"fan_in": 0, "fan_out": 1}[mode]]
    return (1 + slope**2) * fan


def _uniform(tensor: Array, bound: float, generator: np.random.Generator | None) -> Array:
    tensor[...] = (generator or np.random.default_rng()).uniform(-bound, bound, tensor.shape)
    return tensor


def _normal(tensor: Array, std: float, generator: np.random.Generator | None) -> Array:
    tensor[...] = (generator or np.random.default_rng()).normal(0, std, tensor.shape)
    return tensor
