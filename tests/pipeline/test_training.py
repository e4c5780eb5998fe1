"""The loop: who is shown what, which epoch is kept, and what happens when the loss runs away."""

import math
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest

from stages.pipeline.classifier import Images, Labels, Probabilities
from stages.pipeline.dataset import Split
from stages.pipeline.params import TrainingParameters, load_parameters
from stages.pipeline.schedules import make_schedule
from stages.pipeline.stage import PipelineError
from stages.pipeline.training import train


class Recorder:
    """A classifier that learns nothing, notes what it is shown, and is as good as its script says after each epoch."""

    def __init__(self, validation_hits: list[int], losses: list[float] | None = None) -> None:
        self.validation_hits, self.losses = validation_hits, losses or []
        self.seen: list[tuple[list[int], float]] = []
        self.weights = np.zeros(1)

    def train_batch(self, images: Images, labels: Labels, learning_rate: float) -> float:
        assert (images[:, 0, 0] == labels).all()
        self.seen.append(([int(number) for number in images[:, 0, 1]], learning_rate))
        self.weights += 1
        return self.losses.pop(0) if self.losses else 1.0

    def predict(self, images: Images) -> Probabilities:
        epoch = int(self.weights[0]) // 3
        right = np.arange(len(images)) < [0, *self.validation_hits][epoch]
        answers = np.where(right, images[:, 0, 0], (images[:, 0, 0] + 1) % 10).astype(int)
        probabilities: Probabilities = np.eye(10, dtype=np.float32)[answers]
        return probabilities

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        return {"weights": self.weights.copy()}

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self.weights[...] = state["weights"]

    def to_bytes(self) -> bytes:
        return b""

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        raise NotImplementedError


def numbered_digits(count: int) -> Split:
    labels = np.arange(count) % 10
    images = np.zeros((count, 28, 28), np.float32)
    images[:, 0, 0], images[:, 0, 1] = labels, np.arange(count)
    return Split(images, labels)


def settings(epochs: int) -> TrainingParameters:
    return load_parameters().train_scratch.model_copy(update={"epochs": epochs, "batch_size": 8})


def run(classifier: Recorder, epochs: int, history: Path, seed: int = 0) -> None:
    train(classifier, numbered_digits(20), numbered_digits(10), settings(epochs), np.random.default_rng(seed), history)


def test_each_epoch_shows_every_digit_once_in_a_new_order_at_the_scheduled_rate(tmp_path: Path) -> None:
    classifier = Recorder([5] * 4)
    run(classifier, 4, tmp_path / "history.csv")
    batches = [numbers for numbers, _ in classifier.seen]
    assert [len(numbers) for numbers in batches] == [8, 8, 4] * 4
    orders = [list(chain(*batches[3 * epoch : 3 * epoch + 3])) for epoch in range(4)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    schedule = make_schedule(settings(4), 3)
    assert [rate for _, rate in classifier.seen] == [schedule(step) for step in range(12)]


def test_the_seed_decides_the_order(tmp_path: Path) -> None:
    first, same, other = Recorder([5]), Recorder([5]), Recorder([5])
    for classifier, seed in ((first, 1), (same, 1), (other, 2)):
        run(classifier, 1, tmp_path / "history.csv", seed)
    assert first.seen == same.seen != other.seen


def test_the_epoch_that_is_best_on_validation_is_kept(tmp_path: Path) -> None:
    classifier = Recorder([3, 9, 7, 9])
    run(classifier, 4, tmp_path / "history.csv")
    assert classifier.weights[0] == 6  # three steps an epoch: the first of the two that had 9
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["validation_accuracy"].tolist() == [0.3, 0.9, 0.7, 0.9]
    assert history["epoch"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_at_once_and_says_where(tmp_path: Path, loss: float) -> None:
    classifier = Recorder([5] * 3, [1.0] * 4 + [loss])
    with pytest.raises(PipelineError, match=rf"the loss is {loss} in epoch 2 at step 2 of 3") as caught:
        run(classifier, 3, tmp_path / "history.csv")
    assert "\n" not in str(caught.value)
    assert len(classifier.seen) == 5
    assert len(pd.read_csv(tmp_path / "history.csv")) == 1
