"""The network, defined once for every engine: its layers and its initial weights."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.engines.config import NetworkConfig
from stages.engines.scratch import init
from stages.pipeline.classifier import CLASSES, IMAGE_SHAPE

KERNEL_SIZE, POOL_SIZE = 5, 2
ACTIVATIONS = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "sigmoid": "Sigmoid", "tanh": "Tanh", "gelu": "GELU"}
INITIALIZERS: dict[str, Callable[..., NDArray[Any]]] = {
    "xavier_uniform": init.xavier_uniform_,
    "xavier_normal": init.xavier_normal_,
    "he_uniform": init.kaiming_uniform_,
    "he_normal": init.kaiming_normal_,
}


def build_layers(nn: Any, config: NetworkConfig) -> list[Any]:
    """The layers between images (N, 1, 28, 28) and logits (N, 10), of ``torch.nn`` or whatever else has its names.

    A convolutional block for each of ``channels``, a linear one for each of ``hidden_sizes``, then the output layer.
    Pooling precedes the activation: a quarter of the work, and without batch normalization the same result for an
    activation that never decreases. Batch normalization has its own bias and cancels any before it.
    """
    activation, bias = getattr(nn, ACTIVATIONS[config.activation]), not config.batch_norm
    layers: list[Any] = []
    (side, _), in_channels = IMAGE_SHAPE, 1
    for out_channels in config.channels:
        layers += [nn.Conv2d(in_channels, out_channels, KERNEL_SIZE, bias=bias), nn.MaxPool2d(POOL_SIZE)]
        layers += [nn.BatchNorm2d(out_channels)] if config.batch_norm else []
        layers += [activation()]
        side, in_channels = (side - KERNEL_SIZE + 1) // POOL_SIZE, out_channels
    layers += [nn.Flatten()]
    in_features = in_channels * side * side
    for out_features in config.hidden_sizes:
        layers += [nn.Linear(in_features, out_features, bias=bias)]
        layers += [nn.BatchNorm1d(out_features)] if config.batch_norm else []
        layers += [activation()]
        layers += [nn.Dropout(config.dropout)] if config.dropout else []
        in_features = out_features
    return [*layers, nn.Linear(in_features, CLASSES)]


def initial_weights(
    shapes: Mapping[str, tuple[int, ...]], config: NetworkConfig, generator: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Draw the weight of every linear layer (out, in) and convolution (out, in, height, width); biases are 0.

    ``shapes`` are those of a state_dict in the order of the layers. What normalizes keeps its own initial state.
    """
    initialize = INITIALIZERS[config.initialization]
    drawn = {name: initialize(np.empty(shape), generator=generator) for name, shape in shapes.items() if len(shape) > 1}
    biases = {name: np.zeros(shape) for name, shape in shapes.items() if name.endswith(".bias")}
    return drawn | biases
