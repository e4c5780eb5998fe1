"""Both engines train as plain PyTorch does, in float64, with every option at values at which it acts."""

from typing import Any

import numpy as np
import pytest
import torch

from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.rng import spawn_generators
from tests.configs import make_config
from tests.engines.plain_torch import ACTIVATIONS, OPTIMIZERS, Dropout, PlainTraining, convolutional, deep, dense

SEED, STEPS = 5, 6
RATES = {"sgd": 0.3, "momentum": 0.05, "nesterov": 0.05, "rmsprop": 0.002, "adam": 0.003, "adamw": 0.003}
DENSE = {"hidden_sizes": [6, 5]}
CONVOLUTIONAL = {"channels": [2, 3], "hidden_sizes": [5]}
DEEP: dict[str, Any] = {
    **{"channels": [2, 3, 4], "convolutions": 2, "kernel_size": 3, "padding": 1, "global_avg_pool": True},
    "hidden_sizes": [5],
}
EVERYTHING = {
    "batch_norm": True,
    "dropout": 0.3,
    "label_smoothing": 0.2,
    "weight_decay": 0.3,
    "max_grad_norm": 0.5,
    "ema_decay": 0.8,
}
ALONE: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in OPTIMIZERS},
    **{f"{name}, weight decay": {"name": name, "momentum": 0.6, "weight_decay": 0.3} for name in OPTIMIZERS},
    "nesterov without momentum": {"name": "nesterov", "momentum": 0.0},
    **{name: {"activation": name} for name in ACTIVATIONS},
    **{f"max_grad_norm {norm}": {"max_grad_norm": norm} for norm in (0.1, 1.0, 1e6)},
    **{f"ema_decay {decay}": {"ema_decay": decay} for decay in (0.3, 0.999)},
    **{f"label_smoothing {smoothing}": {"label_smoothing": smoothing} for smoothing in (0.1, 0.7)},
    **{f"dropout {p}": {"dropout": p} for p in (0.2, 0.7)},
    "batch_norm": {"batch_norm": True},
}
TOGETHER: dict[str, dict[str, Any]] = {
    **{f"all with {name}": {"name": name, "momentum": 0.6, **EVERYTHING} for name in OPTIMIZERS},
    **{f"all with {name}": {"activation": name, **EVERYTHING} for name in ACTIVATIONS},
}
IN_BLOCKS: dict[str, dict[str, Any]] = {"plain": {}, "batch_norm": {"batch_norm": True}}
CASES = {
    **{name: (dense, DENSE | options) for name, options in (ALONE | TOGETHER).items()},
    **{f"{name}, convolution": (convolutional, CONVOLUTIONAL | each) for name, each in (IN_BLOCKS | TOGETHER).items()},
    **{f"{name}, deep": (deep, DEEP | each) for name, each in IN_BLOCKS.items()},
    **{f"{name}, deep": (deep, DEEP | TOGETHER[name]) for name in ("all with adamw", "all with gelu")},
}
EngineClass = type[ScratchClassifier] | type[TorchClassifier]


def dropout_of(engine: EngineClass, p: float) -> Dropout | None:
    """The masks that the engine draws from the seed: with NumPy's generator, or with PyTorch's global one."""
    if not p:
        return None
    generator = spawn_generators(SEED).dropout
    if engine is ScratchClassifier:
        return lambda x: x * torch.from_numpy(generator.random(x.shape, np.float32) >= p) / (1 - p)
    return lambda x: torch.dropout(x, p, train=True)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", [ScratchClassifier, TorchClassifier])
def test_losses_weights_and_predictions_are_those_of_plain_torch(engine: EngineClass, case: str) -> None:
    """Batches and learning rates vary."""
    network, options = CASES[case]
    optimizer, dropout = options.get("name", "sgd"), dropout_of(engine, options.get("dropout", 0.0))
    layers = network(options.get("activation", "relu"), options.get("batch_norm", False), dropout)
    classifier = engine(make_config(**options), spawn_generators(SEED), dtype="float64")
    plain = PlainTraining(layers, classifier.state_dict(), options)
    generator = np.random.default_rng(0)
    sizes, rates = [4 + step % 3 for step in range(STEPS)], [RATES[optimizer] / (1 + step) for step in range(STEPS)]
    batches = [(generator.normal(size=(size, 28, 28)), generator.integers(10, size=size)) for size in sizes]

    losses = [classifier.train_batch(*batch, rate) for batch, rate in zip(batches, rates, strict=True)]
    torch.manual_seed(int(spawn_generators(SEED).dropout.integers(2**63)))
    expected = [plain.train_batch(*batch, rate) for batch, rate in zip(batches, rates, strict=True)]
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    state = classifier.state_dict()
    assert state.keys() == plain.average.keys()
    for name, tensor in plain.average.items():
        np.testing.assert_allclose(state[name], tensor.numpy(), rtol=1e-7, atol=1e-10, err_msg=name)
    images = generator.normal(size=(9, 28, 28))
    np.testing.assert_allclose(classifier.predict(images), plain.predict(images), rtol=1e-5, atol=1e-30)
