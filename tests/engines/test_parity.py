"""The proof: the same config, seed and batches give the same training in both engines."""

from typing import Any

import numpy as np
import pytest

from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.rng import spawn_generators
from tests.configs import make_config

OPTIMIZERS = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "rmsprop": 0.001, "adam": 0.003, "adamw": 0.003}


NETWORKS: dict[str, dict[str, Any]] = {
    "no hidden layer": {"hidden_sizes": []},
    "two hidden layers": {"hidden_sizes": [32, 16]},
    "convolution": {"channels": [4, 6], "hidden_sizes": [16]},
    "convolution, all options": {
        "channels": [3, 4],
        "hidden_sizes": [12],
        "activation": "gelu",
        "batch_norm": True,
        "label_smoothing": 0.1,
        "max_grad_norm": 1.0,
        "ema_decay": 0.9,
    },
    "two padded 3x3 convolutions in each of three blocks, global average pooling": {
        "channels": [3, 4, 5],
        "convolutions": 2,
        "kernel_size": 3,
        "padding": 1,
        "global_avg_pool": True,
        "hidden_sizes": [],
        "batch_norm": True,
    },
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_50_steps_from_equal_weights_have_equal_losses_and_end_in_equal_weights(optimizer: str, network: str) -> None:
    generator = np.random.default_rng(3)
    config = make_config(name=optimizer, momentum=0.9, weight_decay=0.01, **NETWORKS[network])
    scratch = ScratchClassifier(config, spawn_generators(3), dtype="float64")
    reference = TorchClassifier(config, spawn_generators(3), dtype="float64")
    for name, weights in reference.state_dict().items():
        assert (scratch.state_dict()[name] == weights).all(), name
    for step in range(50):
        images, labels = generator.normal(size=(16, 28, 28)), generator.integers(10, size=16)
        learning_rate = OPTIMIZERS[optimizer] * (1 - step / 50)
        ours = scratch.train_batch(images, labels, learning_rate)
        assert ours == pytest.approx(reference.train_batch(images, labels, learning_rate), rel=1e-8)
    for name, weights in reference.state_dict().items():
        np.testing.assert_allclose(scratch.state_dict()[name], weights, rtol=1e-6, atol=1e-9)
    images = generator.normal(size=(100, 28, 28))
    np.testing.assert_allclose(scratch.predict(images), reference.predict(images), rtol=1e-5)
