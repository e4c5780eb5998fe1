"""Training interrupted after every epoch ends as if it had not been: both engines, every optimizer, byte for byte.

In one process, with a tiny network; test_resume.py kills real ones.
"""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.engines import make
from stages.pipeline.classifier import UNSTANDARDIZED, Classifier, StateDict
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split
from stages.training.checkpoint import Checkpoint, Progress
from stages.training.loop import train
from tests.configs import make_config

EPOCHS = 3
COMMON = {
    "hidden_sizes": [6],
    "batch_norm": True,
    "label_smoothing": 0.1,
    "max_grad_norm": 1.0,
    "enabled": True,  # augmentation
    "schedule": "one_cycle",
    "batch_size": 8,
    "epochs": EPOCHS,
}
OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw")


class Interrupted(Checkpoint):
    """Written once; then the process is gone."""

    def save(self, classifier: Classifier, progress: Progress) -> None:
        super().save(classifier, progress)
        if len(progress.epochs) < EPOCHS:
            raise KeyboardInterrupt


def digits(count: int, seed: int) -> Split:
    """Noise around ten fixed images, so that something can be learned and epochs differ."""
    labels = np.arange(count) % 10
    means = np.random.default_rng(0).normal(size=(10, 28, 28))
    return Split((means[labels] + np.random.default_rng(seed).normal(0, 3, (count, 28, 28))).astype(np.float32), labels)


TRAINING, VALIDATION = digits(24, 1), digits(30, 2)


def trained(kind: type[Checkpoint], engine: str, folder: Path, options: dict[str, Any]) -> tuple[bytes, StateDict]:
    """The model and all that training changed, after every epoch or up to the interruption."""
    config, generators = make_config(**options), spawn_generators(5)
    classifier = make(engine, config, generators, UNSTANDARDIZED)
    checkpoint = kind(folder / "checkpoint.npz", config, "cpu", (TRAINING, VALIDATION), generators)
    train(classifier, TRAINING, VALIDATION, config, generators, folder / "history.csv", checkpoint)
    return classifier.to_bytes(), classifier.training_state()


@pytest.mark.parametrize("engine", ["scratch", "torch"])
@pytest.mark.parametrize(("optimizer", "dropout", "ema_decay"), list(product(OPTIMIZERS, (0.0, 0.3), (0.0, 0.9))))
def test_training_resumed_after_every_epoch_ends_with_the_bytes_of_an_undisturbed_one(
    tmp_path: Path, engine: str, optimizer: str, dropout: float, ema_decay: float
) -> None:
    options = {**COMMON, "name": optimizer, "dropout": dropout, "ema_decay": ema_decay}
    model, state = trained(Checkpoint, engine, tmp_path / "undisturbed", options)
    for _ in range(EPOCHS - 1):
        with pytest.raises(KeyboardInterrupt):
            trained(Interrupted, engine, tmp_path / "resumed", options)
    resumed_model, resumed_state = trained(Interrupted, engine, tmp_path / "resumed", options)
    assert resumed_model == model
    assert resumed_state.keys() == state.keys()
    assert [name for name in state if resumed_state[name].tobytes() != state[name].tobytes()] == []
    history = [(tmp_path / name / "history.csv").read_bytes() for name in ("undisturbed", "resumed")]
    assert history[0] == history[1]
    assert len(history[0].splitlines()) == EPOCHS + 1
