"""What training says is true of the network that it says it of."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from stages.engines.config import NetworkConfig, ScheduleName
from stages.engines.network import build_layers
from stages.training.messages import chance_warning, divergence, options_without_effect


@pytest.mark.parametrize(
    ("counts", "hits", "warns"),
    [
        ((500, 300, 200), 500, True),
        ((500, 300, 200), 520, True),
        ((500, 300, 200), 531, True),  # two standard errors are 31.6
        ((500, 300, 200), 532, False),
        ((500, 300, 200), 560, False),
        ((10, 0, 90), 96, True),  # 90 + 6 is not more
        ((10, 0, 90), 97, False),
        ((99, 1), 99, True),
        ((99, 1), 100, False),
    ],
)
def test_an_accuracy_that_the_most_frequent_class_explains_is_called_chance(
    counts: tuple[int, ...], hits: int, warns: bool
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    warning = chance_warning(hits / len(labels), labels)
    expected = f"chance: always answering the most frequent class gives {max(counts) / len(labels):.2%}"
    assert (expected in warning) == bool(warning) == warns
    assert not warns or warning.startswith(f"the best validation accuracy, {hits / len(labels):.2%}, is no better")


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_a_schedule_that_warms_up_is_advised_where_another_diverged(schedule: ScheduleName) -> None:
    message = str(divergence(math.nan, 1, "its end", 0.1, schedule))
    assert message.endswith("; lower learning_rate, or use the schedule one_cycle, which warms up")


@pytest.mark.parametrize("channels", [[], [2]])
@pytest.mark.parametrize("hidden_sizes", [[], [4]])
@pytest.mark.parametrize("option", [{"dropout": 0.5}, {"global_avg_pool": True}, {"batch_norm": True}])
def test_an_option_has_no_effect_where_the_network_is_the_same_without_it(
    channels: list[int], hidden_sizes: list[int], option: dict[str, Any]
) -> None:
    network = NetworkConfig(channels=channels, hidden_sizes=hidden_sizes)
    changed = network.model_copy(update=option)
    is_same = str(build_layers(torch.nn, changed)) == str(build_layers(torch.nn, network))
    notes = list(options_without_effect(changed))
    assert [note.split()[0] for note in notes] == [f"network.{name}" for name in option if is_same]
    assert not list(options_without_effect(network))
