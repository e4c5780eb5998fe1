"""The loop: which batches are seen, which epoch is kept, and what happens when the loss diverges."""

import math
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest

from stages.engines.config import EngineConfig
from stages.pipeline.classifier import UNSTANDARDIZED, Images, Labels, Probabilities
from stages.pipeline.errors import PipelineError
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split
from stages.training.checkpoint import Checkpoint
from stages.training.loop import train
from stages.training.messages import chance_warning
from stages.training.schedules import make_schedule
from tests.configs import make_config


class Recorder:
    """A classifier that records its batches, and is as accurate as its script says after each epoch."""

    standardization = UNSTANDARDIZED

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

    def parameter_count(self) -> int:
        return 1

    def training_state(self) -> dict[str, np.ndarray[Any, Any]]:
        return self.state_dict()

    def load_training_state(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self.load_state_dict(state)

    def to_bytes(self) -> bytes:
        return b""

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        raise NotImplementedError


def numbered_images(count: int) -> Split:
    labels = np.arange(count) % 10
    images = np.zeros((count, 28, 28), np.float32)
    images[:, 0, 0], images[:, 0, 1] = labels, np.arange(count)
    return Split(images, labels)


def config(**options: Any) -> EngineConfig:
    return make_config(**{"batch_size": 8, "schedule": "one_cycle", **options})


def start(classifier: Recorder, history: Path, seed: int = 0, **options: Any) -> Checkpoint:
    """Train, as if interrupted before the model is written: the checkpoint stays."""
    training, generators = numbered_images(20), spawn_generators(seed)
    checkpoint = Checkpoint(history.with_name("checkpoint.npz"), config(**options), "cpu", [training], generators)
    train(classifier, training, numbered_images(10), config(**options), generators, history, checkpoint)
    return checkpoint


def run(classifier: Recorder, history: Path, seed: int = 0, **options: Any) -> None:
    """Train to the end."""
    start(classifier, history, seed, **options).remove()


def test_each_epoch_sees_every_image_once_in_a_new_order_at_the_scheduled_rate(tmp_path: Path) -> None:
    classifier = Recorder([5] * 4)
    run(classifier, tmp_path / "history.csv", epochs=4)
    batches = [numbers for numbers, _ in classifier.seen]
    assert [len(numbers) for numbers in batches] == [8, 8, 4] * 4
    orders = [list(chain(*batches[3 * epoch : 3 * epoch + 3])) for epoch in range(4)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    schedule = make_schedule(config(epochs=4), 3)
    assert [rate for _, rate in classifier.seen] == [schedule(step) for step in range(12)]


def test_the_seed_decides_the_order(tmp_path: Path) -> None:
    first, same, other = Recorder([5]), Recorder([5]), Recorder([5])
    for classifier, seed in ((first, 1), (same, 1), (other, 2)):
        run(classifier, tmp_path / "history.csv", seed, epochs=1)
    assert first.seen == same.seen != other.seen


def test_the_epoch_that_is_best_on_validation_is_kept(tmp_path: Path) -> None:
    classifier = Recorder([3, 9, 7, 9])
    run(classifier, tmp_path / "history.csv", epochs=4)
    assert classifier.weights[0] == 6  # three steps an epoch: the first of the two that had 9
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["validation_accuracy"].tolist() == [0.3, 0.9, 0.7, 0.9]
    assert history["epoch"].tolist() == [1, 2, 3, 4]


def test_training_says_what_it_measures_and_where_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(Recorder([3, 9, 8]), tmp_path / "history.csv", epochs=3).remove()
    first = "training on 20 images, validating on 10; train loss and accuracy are measured on 10 of the training images"
    assert capsys.readouterr().out.splitlines()[0] == first
    checkpoint = start(Recorder([3, 9]), tmp_path / "history.csv", epochs=2)
    capsys.readouterr()
    run(Recorder([3, 9]), tmp_path / "history.csv", epochs=2)
    assert f"resuming after epoch 2/2, from {checkpoint.path}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "hits", "warns"),
    [
        ((500, 300, 200), 500, True),
        ((500, 300, 200), 520, True),
        ((500, 300, 200), 560, False),
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


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_at_once_and_says_where(tmp_path: Path, loss: float) -> None:
    classifier = Recorder([5] * 3, [1.0] * 4 + [loss])
    with pytest.raises(PipelineError, match=rf"the loss is {loss} in epoch 2 at step 2 of 3") as caught:
        run(classifier, tmp_path / "history.csv", epochs=3)
    assert "\n" not in str(caught.value)
    assert len(classifier.seen) == 5
    assert len(pd.read_csv(tmp_path / "history.csv")) == 1


def test_early_stopping_returns_to_the_best_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = Recorder([3, 9, 7, 8, 9, 10])
    run(classifier, tmp_path / "history.csv", epochs=6, patience=3)
    assert classifier.weights[0] == 6
    assert len(pd.read_csv(tmp_path / "history.csv")) == 5
    assert "early stopping: no epoch was better than epoch 2" in capsys.readouterr().out
    patient = Recorder([3, 9, 7, 8, 9, 10])
    run(patient, tmp_path / "history.csv", epochs=6, patience=4)
    assert patient.weights[0] == 18


def test_augmentation_distorts_training_batches_and_not_what_is_evaluated(tmp_path: Path) -> None:
    """The images are one bright pixel in two corners: rotated, they are no longer where the recorder looks."""

    class Distorted(Recorder):
        def train_batch(self, images: Images, labels: Labels, learning_rate: float) -> float:
            assert len(images) == len(labels)
            self.seen.append((list(images[:, 0, 0]), learning_rate))
            self.weights += 1
            return 1.0

    def seen(seed: int, augment: bool) -> list[float]:
        classifier = Distorted([10])
        run(classifier, tmp_path / "history.csv", seed, epochs=1, enabled=augment)
        assert pd.read_csv(tmp_path / "history.csv")["validation_accuracy"].tolist() == [1.0]
        return [pixel for pixels, _ in classifier.seen for pixel in pixels]

    assert seen(0, True) == seen(0, True) != seen(0, False)
    assert seen(0, True) != seen(1, True)


@pytest.mark.parametrize("batch_size", [1, 19])
def test_batch_norm_refuses_a_batch_of_one_before_training(tmp_path: Path, batch_size: int) -> None:
    classifier = Recorder([5])
    with pytest.raises(PipelineError, match="batch_norm cannot train on a batch of one image"):
        run(classifier, tmp_path / "history.csv", epochs=1, batch_norm=True, batch_size=batch_size)
    assert not classifier.seen


def test_a_batch_of_one_is_fine_without_hidden_layers(tmp_path: Path) -> None:
    """A channel of a convolution has many values per image."""
    classifier = Recorder([5])
    run(classifier, tmp_path / "history.csv", epochs=1, batch_norm=True, hidden_sizes=[], channels=[2], batch_size=19)
    assert len(classifier.seen) == 2


def test_the_history_is_there_again_when_all_epochs_were_done_before_the_interruption(tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    start(Recorder([3, 9]), history, epochs=2)
    done = history.read_bytes()
    history.write_text("another run's", encoding="utf-8")
    resumed = Recorder([3, 9])
    run(resumed, history, epochs=2)
    assert not resumed.seen
    assert history.read_bytes() == done
