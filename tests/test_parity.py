"""The proof: the same network, weights and batches give the same training in both engines."""

import numpy as np
import pytest
import torch

from stages.scratch.classifier import ScratchClassifier
from stages.torch_engine.classifier import TorchClassifier

OPTIMIZERS = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "rmsprop": 0.001, "adam": 0.003, "adamw": 0.003}


@pytest.mark.parametrize("hidden", [[], [32, 16]], ids=["no hidden layer", "two hidden layers"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_50_steps_have_the_same_losses_and_end_in_the_same_weights(optimizer: str, hidden: list[int]) -> None:
    generator = np.random.default_rng(3)
    settings = {"optimizer": optimizer, "momentum": 0.9, "weight_decay": 0.01}
    scratch = ScratchClassifier(hidden, generator, dtype=np.float64, **settings)  # type: ignore[arg-type]  # a dict of all kinds
    reference = TorchClassifier(hidden, generator, dtype=torch.float64, **settings)  # type: ignore[arg-type]  # as above
    scratch.load_state_dict(reference.state_dict())
    for step in range(50):
        images, labels = generator.normal(size=(16, 28, 28)), generator.integers(10, size=16)
        learning_rate = OPTIMIZERS[optimizer] * (1 - step / 50)
        ours = scratch.train_batch(images, labels, learning_rate)
        assert ours == pytest.approx(reference.train_batch(images, labels, learning_rate), rel=1e-8)
    for name, weights in reference.state_dict().items():
        np.testing.assert_allclose(scratch.state_dict()[name], weights, rtol=1e-6, atol=1e-9)
    images = generator.normal(size=(100, 28, 28))
    np.testing.assert_allclose(scratch.predict(images), reference.predict(images), rtol=1e-5)
