"""The network, defined once for every engine: its layers and its initial weights."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.engines.config import POOL_SIZE, NetworkConfig
from stages.engines.scratch import init
from stages.pipeline.classifier import CLASSES, IMAGE_SHAPE

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
    Batch normalization has its own bias and cancels any before it.
    """
    channels, side = [1, *config.channels], [IMAGE_SHAPE[0], *config.sides()][-1]
    layers = [layer for pair in pairwise(channels) for layer in _convolutional_block(nn, config, *pair)]
    if config.global_avg_pool and config.channels:
        layers += [nn.AvgPool2d(side)]
        side = 1
    layers += [nn.Flatten()]
    sizes = [channels[-1] * side * side, *config.hidden_sizes]
    layers += [layer for pair in pairwise(sizes) for layer in _linear_block(nn, config, *pair)]
    return [*layers, nn.Linear(sizes[-1], CLASSES)]


def _convolutional_block(nn: Any, config: NetworkConfig, in_channels: int, out_channels: int) -> list[Any]:
    """``convolutions``, each with its activation, and 2x2 max pooling after the last.

    Pooling precedes the activation: a quarter of the work, and without batch normalization the same result for an
    activation that never decreases.
    """
    layers: list[Any] = []
    for number in range(config.convolutions):
        inputs, is_last = out_channels if number else in_channels, number == config.convolutions - 1
        bias = not config.batch_norm
        layers += [nn.Conv2d(inputs, out_channels, config.kernel_size, padding=config.padding, bias=bias)]
        layers += [nn.MaxPool2d(POOL_SIZE)] if is_last else []
        layers += [nn.BatchNorm2d(out_channels)] if config.batch_norm else []
        layers += [_activation(nn, config)]
    return layers


def _linear_block(nn: Any, config: NetworkConfig, in_features: int, out_features: int) -> list[Any]:
    layers = [nn.Linear(in_features, out_features, bias=not config.batch_norm)]
    layers += [nn.BatchNorm1d(out_features)] if config.batch_norm else []
    layers += [_activation(nn, config)]
    layers += [nn.Dropout(config.dropout)] if config.dropout else []
    return layers


def _activation(nn: Any, config: NetworkConfig) -> Any:
    return getattr(nn, ACTIVATIONS[config.activation])()


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
