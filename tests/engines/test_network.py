"""The architecture and the initial weights, in both engines, as params.yaml describes them."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from stages.engines.network import build_layers
from stages.engines.scratch import nn as scratch_nn
from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.rng import Generators, spawn_generators
from tests.configs import make_config

EngineClass = type[ScratchClassifier] | type[TorchClassifier]
engines = pytest.mark.parametrize("engine", [ScratchClassifier, TorchClassifier])
libraries = pytest.mark.parametrize("nn", [scratch_nn, torch.nn], ids=["scratch", "torch"])
NAMES = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "sigmoid": "Sigmoid", "tanh": "Tanh", "gelu": "GELU"}


def layer_names(nn: Any, **options: Any) -> list[str]:
    return [type(layer).__name__ for layer in build_layers(nn, make_config(**options).network)]


@libraries
@pytest.mark.parametrize("activation", NAMES)
def test_each_block_is_its_product_pooling_normalization_activation_and_dropout_in_this_order(
    nn: Any, activation: str
) -> None:
    """Convolutions are not dropped out of, and nothing follows the last layer."""
    options = {"channels": [2, 3], "hidden_sizes": [6, 5], "activation": activation}
    name = NAMES[activation]
    assert layer_names(nn, **options) == [
        *("Conv2d", "MaxPool2d", name) * 2,
        "Flatten",
        *("Linear", name) * 2,
        "Linear",
    ]
    assert layer_names(nn, **options, batch_norm=True, dropout=0.25) == [
        *("Conv2d", "MaxPool2d", "BatchNorm2d", name) * 2,
        "Flatten",
        *("Linear", "BatchNorm1d", name, "Dropout") * 2,
        "Linear",
    ]
    assert layer_names(nn, channels=[], hidden_sizes=[], batch_norm=True, dropout=0.5) == ["Flatten", "Linear"]
    assert layer_names(nn, channels=[], hidden_sizes=[], global_avg_pool=True) == ["Flatten", "Linear"]


@libraries
@pytest.mark.parametrize("convolutions", [1, 2, 3])
def test_a_block_has_its_pooling_after_the_last_of_its_convolutions(nn: Any, convolutions: int) -> None:
    """All feature maps are averaged to a pixel each, where that is asked for."""
    options = {"channels": [2, 3], "convolutions": convolutions, "kernel_size": 3, "padding": 1, "hidden_sizes": []}
    plain, last = ("Conv2d", "ReLU"), ("Conv2d", "MaxPool2d", "ReLU")
    normalized, last_normalized = ("Conv2d", "BatchNorm2d", "ReLU"), ("Conv2d", "MaxPool2d", "BatchNorm2d", "ReLU")
    assert layer_names(nn, **options) == [*(plain * (convolutions - 1) + last) * 2, "Flatten", "Linear"]
    assert layer_names(nn, **options, batch_norm=True, global_avg_pool=True) == [
        *(normalized * (convolutions - 1) + last_normalized) * 2,
        *("AvgPool2d", "Flatten", "Linear"),
    ]


@engines
@pytest.mark.parametrize("global_avg_pool", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        *({"channels": [2] * count} for count in range(3)),
        *({"channels": [2] * count, "kernel_size": 1, "padding": 2} for count in (1, 6)),
        *({"channels": [2] * 2, "kernel_size": 4, "padding": 2, "convolutions": count} for count in (1, 2, 3)),
        {"channels": [2] * 4, "kernel_size": 3, "padding": 1},
    ],
)
def test_a_network_of_any_geometry_gives_ten_probabilities(
    engine: EngineClass, options: dict[str, Any], global_avg_pool: bool
) -> None:
    """So the first linear layer has as many inputs as the feature maps have pixels, or as there are maps."""
    classifier = engine(make_config(**options, hidden_sizes=[], global_avg_pool=global_avg_pool), spawn_generators(0))
    assert classifier.predict(np.ones((3, 28, 28), np.float32)).shape == (3, 10)
    if global_avg_pool and options["channels"]:
        assert [*classifier.state_dict().values()][-2].shape == (10, 2)


@libraries
def test_kernels_padding_and_dropout_are_what_is_asked_for_and_pools_are_2x2(nn: Any) -> None:
    options = {"channels": [2, 3], "convolutions": 2, "kernel_size": 3, "padding": 2, "global_avg_pool": True}
    for layer in build_layers(nn, make_config(hidden_sizes=[6], dropout=0.25, **options).network):
        if isinstance(layer, nn.Conv2d):
            assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (2, 2))
        if isinstance(layer, nn.AvgPool2d):  # 28 -> 32 -> 16 -> 20 -> 10 pixels
            assert layer.kernel_size in (10, (10, 10))
        if isinstance(layer, nn.MaxPool2d):
            assert (layer.kernel_size, layer.stride) in (((2, 2), (2, 2)), (2, 2))
        if isinstance(layer, nn.Dropout):
            assert layer.p == 0.25


SHAPES: list[tuple[dict[str, Any], dict[str, tuple[int, ...]]]] = [
    ({"hidden_sizes": []}, {"1.weight": (10, 784), "1.bias": (10,)}),
    (
        {"hidden_sizes": [6, 5]},
        {
            "1.weight": (6, 784),
            "1.bias": (6,),
            "3.weight": (5, 6),
            "3.bias": (5,),
            "5.weight": (10, 5),
            "5.bias": (10,),
        },
    ),
    (
        {"channels": [2, 3], "hidden_sizes": [5]},
        {
            "0.weight": (2, 1, 5, 5),
            "0.bias": (2,),
            "3.weight": (3, 2, 5, 5),
            "3.bias": (3,),
            "7.weight": (5, 48),
            "7.bias": (5,),
            "9.weight": (10, 5),
            "9.bias": (10,),
        },
    ),
    (
        {"channels": [2], "hidden_sizes": [5], "batch_norm": True},
        {
            "0.weight": (2, 1, 5, 5),
            **{f"2.{name}": (2,) for name in ("weight", "bias", "running_mean", "running_var")},
            "5.weight": (5, 288),
            **{f"6.{name}": (5,) for name in ("weight", "bias", "running_mean", "running_var")},
            "8.weight": (10, 5),
            "8.bias": (10,),
        },
    ),
    (
        {"channels": [2, 3], "convolutions": 2, "kernel_size": 3, "padding": 1, "global_avg_pool": True}
        | {"hidden_sizes": []},
        {
            "0.weight": (2, 1, 3, 3),
            "0.bias": (2,),
            "2.weight": (2, 2, 3, 3),
            "2.bias": (2,),
            "5.weight": (3, 2, 3, 3),
            "5.bias": (3,),
            "7.weight": (3, 3, 3, 3),
            "7.bias": (3,),
            "12.weight": (10, 3),
            "12.bias": (10,),
        },
    ),
]


@engines
@pytest.mark.parametrize(("options", "shapes"), SHAPES)
def test_weights_have_pytorchs_names_in_the_order_of_the_layers(
    engine: EngineClass, options: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> None:
    """Where batch normalization follows, there is no bias; it counts its own."""
    classifier = engine(make_config(**options))
    state = classifier.state_dict()
    assert [(name, array.shape) for name, array in state.items()] == list(shapes.items())
    trainable = (math.prod(shape) for name, shape in shapes.items() if "running" not in name)
    assert classifier.parameter_count() == sum(trainable)


def drawn(initialization: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray[Any, Any]:
    """Glorot's and He's formulas; the fans of a convolution count its kernel."""
    kernel = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * kernel, shape[0] * kernel
    variance = 2 / (fan_in + fan_out) if initialization.startswith("xavier") else 2 / fan_in
    if initialization.endswith("uniform"):
        return generator.uniform(-math.sqrt(3 * variance), math.sqrt(3 * variance), shape)
    return generator.normal(0, math.sqrt(variance), shape)


@engines
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("initialization", ["xavier_uniform", "xavier_normal", "he_uniform", "he_normal"])
def test_initial_weights_are_drawn_layer_by_layer_from_the_generator_of_weights_and_all_else_is_0_or_1(
    engine: EngineClass, initialization: str, dtype: str
) -> None:
    """In float64, whatever the network's dtype; those of the moving average are the same."""
    options = {"channels": [2, 3], "hidden_sizes": [6, 5], "batch_norm": True, "ema_decay": 0.9}
    classifier = engine(make_config(initialization=initialization, **options), spawn_generators(7), dtype=dtype)
    generator = spawn_generators(7).weights
    for name, array in classifier.state_dict().items():
        assert array.dtype == dtype
        if array.ndim > 1:
            np.testing.assert_allclose(array, drawn(initialization, array.shape, generator), rtol=1e-6)
        else:  # a scale or variance of 1, a bias or mean of 0
            assert (array == (name.endswith(("weight", "running_var")))).all(), name
    network = classifier.network.state_dict()
    assert all((np.asarray(network[name]) == array).all() for name, array in classifier.state_dict().items())


@engines
def test_each_generator_decides_on_its_own_alone(engine: EngineClass) -> None:
    """The weights' on the weights, dropout's on dropout, and no other on anything."""
    config = make_config(hidden_sizes=[16], dropout=0.5)
    images = np.random.default_rng(0).normal(size=(8, 28, 28)).astype(np.float32)

    def outcome(**others: np.random.Generator) -> tuple[bytes, float]:
        classifier = engine(config, spawn_generators(1)._replace(**others))
        weights = classifier.state_dict()["1.weight"].tobytes()
        return weights, classifier.train_batch(images, np.arange(8), 0.1)

    weights, loss = outcome()
    assert outcome() == (weights, loss)
    for name in Generators._fields:
        others = outcome(**{name: getattr(spawn_generators(2), name)})
        assert (others[0] != weights, others[1] != loss) == (name == "weights", name in ("weights", "dropout")), name


@engines
def test_all_pixels_and_all_classes_count_in_their_order(engine: EngineClass) -> None:
    """A network without hidden layers whose class k sees pixel 10 k alone, in rows of 28."""
    classifier = engine(make_config(hidden_sizes=[]), dtype="float64")
    weight = np.zeros((10, 784))
    weight[np.arange(10), 10 * np.arange(10)] = 1
    classifier.load_state_dict({"1.weight": weight, "1.bias": np.linspace(0, 1, 10)})
    images = np.random.default_rng(0).normal(size=(5, 28, 28))
    logits = images.reshape(5, 784)[:, :100:10] + np.linspace(0, 1, 10)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classifier.predict(images), expected, rtol=1e-6)
