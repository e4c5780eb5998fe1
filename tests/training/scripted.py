"""A classifier whose loss and accuracy after each epoch are known beforehand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from stages.engines.config import EngineConfig
from stages.pipeline.classifier import UNSTANDARDIZED, Images, Labels, Probabilities
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split
from stages.training.checkpoint import Checkpoint
from stages.training.loop import Outcome, train
from tests.configs import make_config

TRAINING, VALIDATION, BATCH = 20, 10, 8
STEPS = 3  # batches in an epoch


class Measured(NamedTuple):
    """What an epoch comes to on a split: correct answers among the first 10 images, and the confidence of all."""

    hits: int
    confidence: float = 0.9


class Scripted:
    """Answers as its script says, a pair of training and validation for each epoch; records what it is given.

    Its one weight counts the steps. Images tell their label, their number and their split in their first pixels.
    """

    standardization = UNSTANDARDIZED

    def __init__(self, script: Sequence[tuple[Measured, Measured]], losses: Sequence[float] = ()) -> None:
        self.script, self.losses = script, list(losses)
        self.weights = np.zeros(1)
        self.batches: list[tuple[Images, Labels, float]] = []
        self.predicted: list[Images] = []

    def train_batch(self, images: Images, labels: Labels, learning_rate: float) -> float:
        self.batches.append((images.copy(), labels.copy(), learning_rate))
        self.weights += 1
        return self.losses.pop(0) if self.losses else 1.0

    def predict(self, images: Images) -> Probabilities:
        self.predicted.append(images.copy())
        measured = self.script[int(self.weights[0]) // STEPS - 1][int(images[0, 0, 2])]
        labels = images[:, 0, 0].astype(int)
        answers = np.where(np.arange(len(images)) < measured.hits, labels, (labels + 1) % 10)
        probabilities = np.full((len(images), 10), (1 - measured.confidence) / 9, np.float32)
        probabilities[np.arange(len(images)), answers] = measured.confidence
        return probabilities

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        return {"weights": self.weights.copy()}

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self.weights[...] = state["weights"]

    def parameter_count(self) -> int:
        return 1

    training_state, load_training_state = state_dict, load_state_dict

    def to_bytes(self) -> bytes:
        return self.weights.tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        raise NotImplementedError

    @property
    def seen(self) -> list[list[int]]:
        """The numbers of the images in each batch."""
        return [[int(number) for number in images[:, 0, 1]] for images, _, _ in self.batches]


def on_validation(*hits: int) -> list[tuple[Measured, Measured]]:
    """A script of which only the validation accuracy matters."""
    return [(Measured(5), Measured(each)) for each in hits]


def numbered_images(count: int, split: int, background: float = 0.0) -> Split:
    labels = np.arange(count) * 7 % 10
    images = np.full((count, 28, 28), background, np.float32)
    images[:, 0, 0], images[:, 0, 1], images[:, 0, 2] = labels, np.arange(count), split
    return Split(images, labels)


def config(**options: Any) -> EngineConfig:
    return make_config(**{"batch_size": BATCH, "schedule": "one_cycle", **options})


def start(
    classifier: Scripted,
    history: Path,
    seed: int = 0,
    validation: int = VALIDATION,
    background: float = 0.0,
    **options: Any,
) -> tuple[Outcome, Checkpoint]:
    """Train, as if interrupted before the model is written: the checkpoint stays."""
    generators = spawn_generators(seed)
    training, measured = numbered_images(TRAINING, 0, background), numbered_images(validation, 1, background)
    path = history.with_name("checkpoint.npz")
    checkpoint = Checkpoint(path, config(**options), "cpu", [training, measured], generators)
    return train(classifier, training, measured, config(**options), generators, history, checkpoint), checkpoint


def run(classifier: Scripted, history: Path, *arguments: Any, **options: Any) -> Outcome:
    """Train to the end."""
    outcome, checkpoint = start(classifier, history, *arguments, **options)
    checkpoint.remove()
    return outcome
