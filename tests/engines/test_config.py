"""The range and default of every key of the sections that engines read, as params.yaml and its comments state them."""

from typing import Any

import pytest
from pydantic import ValidationError

from stages.engines.config import ENGINES, SHARED, EngineConfig, NetworkConfig, TorchConfig, merge
from tests.configs import make_config

TINY, HUGE = 5e-324, 10**9  # the smallest float above 0; the largest number of most keys
RANGES: dict[str, tuple[object, list[object], list[object]]] = {  # default, the outermost allowed, and beyond them
    "network.channels": ([], [[], [1], [1000], [3, 2]], [[0], [1001], [1, 1, 1], [2.0], 2]),
    "network.convolutions": (1, [1, 3], [0, 4, 1.5]),
    "network.kernel_size": (5, [1, 28], [0, 29, 1.5]),
    "network.padding": (0, [0, 28], [-1, 29, 1.5]),
    "network.global_avg_pool": (False, [False, True], [0, 1, "true", None]),
    "network.hidden_sizes": ([128, 64], [[], [1], [10_000], [1] * 20], [[0], [10_001], [1] * 21, [2.0], 2]),
    "network.activation": ("relu", ["relu", "leaky_relu", "sigmoid", "tanh", "gelu"], ["ReLU", "elu", None]),
    "network.batch_norm": (False, [False, True], [0, 1, "true", None]),
    "network.dropout": (0.0, [0, 0.999], [-TINY, 1]),
    "network.initialization": (
        "he_uniform",
        ["xavier_uniform", "xavier_normal", "he_uniform", "he_normal"],
        ["uniform", "kaiming_uniform", None],
    ),
    "optimizer.name": ("sgd", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"], ["Adam", "lion", None]),
    "optimizer.learning_rate": (0.01, [TINY, HUGE], [0, -0.1, HUGE + 1]),
    "optimizer.schedule": ("constant", ["constant", "step", "cosine", "one_cycle"], ["linear", None]),
    "optimizer.warmup_fraction": (0.2, [0, 1], [-TINY, 1.001]),
    "optimizer.step_size": (4, [1, 10_000], [0, 10_001, 1.5]),
    "optimizer.gamma": (0.1, [TINY, 1], [0, 1.001]),
    "optimizer.momentum": (0.9, [0, 0.999], [-TINY, 1]),
    "optimizer.weight_decay": (0.0, [0, HUGE], [-TINY, HUGE + 1]),
    "optimizer.max_grad_norm": (0.0, [0, HUGE], [-TINY, HUGE + 1]),
    "optimizer.ema_decay": (0.0, [0, 0.999], [-TINY, 1]),
    "training.epochs": (10, [1, 10_000], [0, 10_001, 1.5]),
    "training.batch_size": (64, [1, 1_000_000], [0, 1_000_001, 1.5]),
    "training.label_smoothing": (0.0, [0, 0.999], [-TINY, 1]),
    "training.patience": (0, [0, 10_000], [-1, 10_001, 1.5]),
    "augmentation.enabled": (False, [False, True], [0, 1, "true", None]),
    "augmentation.rotation": (7.5, [0, 180], [-TINY, 180.1]),
    "augmentation.shift": (1.2, [0, 28], [-TINY, 28.1]),
    "augmentation.scale": (0.075, [0, 0.9], [-TINY, 0.91]),
    "augmentation.shear": (7.5, [0, 80], [-TINY, 80.1]),
    "augmentation.elastic": (0.7, [0, 28], [-TINY, 28.1]),
    "augmentation.no_aug_epochs": (0, [0, 10_000], [-1, 10_001, 1.5]),
    "threads": (1, [1, 256], [0, 257, 1.5]),
    "device": ("cpu", ["auto", "cuda", "mps", "cpu"], ["gpu", "cuda:0", None]),
}


def flat(config: EngineConfig) -> dict[str, Any]:
    return {
        name: value
        for key, content in config.model_dump().items()
        for name, value in (
            {f"{key}.{name}": value for name, value in content.items()} if isinstance(content, dict) else {key: content}
        ).items()
    }


def changed(config: EngineConfig, name: str, value: object) -> EngineConfig:
    section, _, key = name.rpartition(".")
    return config.updated(**{section: {key: value}} if section else {key: value})


def test_every_key_has_its_range_and_default() -> None:
    assert flat(TorchConfig()) == {name: default for name, (default, _, _) in RANGES.items()}
    assert flat(EngineConfig()) == {name: default for name, (default, _, _) in RANGES.items() if name != "device"}


@pytest.mark.parametrize("name", RANGES)
def test_the_outermost_values_are_allowed_and_change_no_other_key(name: str) -> None:
    for value in RANGES[name][1]:
        assert flat(changed(TorchConfig(), name, value)) == {**flat(TorchConfig()), name: value}


@pytest.mark.parametrize("name", RANGES)
def test_what_is_beyond_them_is_refused(name: str) -> None:
    for value in [*RANGES[name][2], float("nan"), float("inf"), {}]:
        with pytest.raises(ValidationError):
            changed(TorchConfig(), name, value)


GEOMETRIES: list[tuple[dict[str, Any], int, str]] = [  # most blocks, and why there are no more
    ({}, 2, "in block 3, feature maps of 4x4 are too small for kernels of 5x5"),
    ({"convolutions": 2}, 2, "in block 3, feature maps of 1x1 are too small for kernels of 5x5"),
    ({"convolutions": 3, "kernel_size": 3}, 2, "in block 3, feature maps of 2x2 are too small for kernels of 3x3"),
    ({"convolutions": 2, "padding": 1}, 2, "in block 3, feature maps of 2x2 are too small for kernels of 5x5"),
    (
        {"convolutions": 3, "kernel_size": 3, "padding": 1},
        4,
        "in block 5, feature maps of 1x1 are too small for pooling of 2x2",
    ),
    ({"kernel_size": 1}, 4, "in block 5, feature maps of 1x1 are too small for pooling of 2x2"),
    ({"kernel_size": 28}, 0, "in block 1, feature maps of 1x1 are too small for pooling of 2x2"),
    ({"kernel_size": 28, "padding": 1}, 1, "in block 2, feature maps of 1x1 are too small for kernels of 28x28"),
]


@pytest.mark.parametrize(("geometry", "most", "reason"), GEOMETRIES)
def test_there_are_as_many_blocks_as_the_images_allow(geometry: dict[str, Any], most: int, reason: str) -> None:
    assert len(NetworkConfig(channels=[1] * most, **geometry).sides()) == most
    for blocks in (most + 1, 20):
        with pytest.raises(
            ValidationError, match=f"channels: must be of a length <= {most} with .* {reason}; got .* {blocks} "
        ):
            NetworkConfig(channels=[1] * blocks, **geometry)


def test_maps_that_padding_enlarges_allow_20_blocks() -> None:
    growing: dict[str, Any] = {"kernel_size": 1, "padding": 1}
    assert NetworkConfig(channels=[1] * 20, **growing).sides()[:4] == [15, 8, 5, 3]
    with pytest.raises(ValidationError, match="at most 20 items"):
        NetworkConfig(channels=[1] * 21, **growing)


def test_an_unknown_key_is_refused_in_every_section() -> None:
    for section in ("", *(f"{name}." for name in SHARED)):
        with pytest.raises(ValidationError, match="extra"):
            changed(TorchConfig(), f"{section}unknown", 1)
    with pytest.raises(ValidationError, match="extra"):
        EngineConfig().updated(device="cpu")


def test_a_config_never_changes() -> None:
    config = make_config(hidden_sizes=[3])
    other = config.updated(network={"dropout": 0.5}, threads=2)
    assert type(other) is TorchConfig
    assert (other.network.hidden_sizes, other.network.dropout, other.threads) == ([3], 0.5, 2)
    assert (config.network.dropout, config.threads) == (0.0, 1)
    with pytest.raises(ValidationError, match="frozen"):
        config.threads = 2


def test_sections_are_merged_key_by_key_and_anything_else_is_replaced() -> None:
    shared = {"a": {"x": 1, "y": [1, 2]}, "b": {"x": 1}, "c": 1, "d": {"x": 1}, "e": 1}
    own = {"a": {"y": [3]}, "b": 2, "c": {"x": 2}, "e": 2, "f": {"x": 3}}
    expected = {"a": {"x": 1, "y": [3]}, "b": 2, "c": {"x": 2}, "d": {"x": 1}, "e": 2, "f": {"x": 3}}
    assert merge(shared, own) == expected
    assert shared["a"] == {"x": 1, "y": [1, 2]}
    assert own["a"] == {"y": [3]}


def test_the_engines_and_what_they_share() -> None:
    assert ENGINES == ("torch", "scratch")
    assert SHARED == ("network", "optimizer", "training", "augmentation")
