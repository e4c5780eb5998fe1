"""What an engine is to the pipeline: anything that learns from a batch and predicts."""

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.floating]  # (N, 28, 28), standardised
Labels = NDArray[np.int64]  # (N,), 0 to 9
Probabilities = NDArray[np.float32]  # (N, 10), each row sums to 1

CLASSES = 10
PREDICTION_BATCH = 250  # digits; bounds the memory that predicting takes


class Classifier(Protocol):
    """A network with its loss and optimizer. Both engines implement it, and the pipeline knows nothing else of them."""

    def train_batch(self, images: Images, labels: Labels, learning_rate: float) -> float:
        """Take one optimizer step on a batch and return its mean loss before the step."""
        ...

    def predict(self, images: Images) -> Probabilities:
        """Return the probability of each class for each image, float32 (N, 10)."""
        ...

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of the weights under the names that PyTorch gives them, such as ``1.weight``."""
        ...

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Take over weights of the same names and shapes. Raises ValueError when they do not fit."""
        ...

    def parameter_count(self) -> int:
        """How many numbers training moves."""
        ...

    def training_state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of all that training moves, so that it can go on from here."""
        ...

    def load_training_state(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Go on from a :meth:`training_state` of an equal classifier."""
        ...

    def to_bytes(self) -> bytes:
        """Return the weights and what rebuilds the network, in the engine's own file format."""
        ...

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Rebuild a classifier from :meth:`to_bytes`, to predict. Raises ValueError when it cannot; runs no code."""
        ...


def predict_in_batches(classifier: Classifier, images: Images) -> Probabilities:
    """Predict any number of images in batches, so that memory stays bounded. Returns float32 (N, 10)."""
    starts = range(0, len(images), PREDICTION_BATCH)
    return np.concatenate([classifier.predict(images[start : start + PREDICTION_BATCH]) for start in starts])
