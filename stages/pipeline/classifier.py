"""What an engine is to the pipeline: anything that trains on a batch and predicts."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.floating]  # (N, 28, 28), standardized
Labels = NDArray[np.int64]  # (N,), 0 to 9
Probabilities = NDArray[np.float32]  # (N, 10), each row sums to 1
StateDict = dict[str, np.ndarray[Any, Any]]

CLASSES, IMAGE_SHAPE = 10, (28, 28)
WHITE = 255  # the brightest pixel of a raw image
PREDICTION_BATCH = 250  # images; bounds the memory that predicting takes


class Standardization(NamedTuple):
    """Mean and standard deviation by which pixels from 0 to 1 were standardized: (pixel − mean) / std."""

    mean: float = 0.0
    std: float = 1.0

    def apply(self, pixels: NDArray[np.uint8]) -> Images:
        """Standardize pixels from 0 (black) to 255 (white), of any shape. Returns float32."""
        lookup = ((np.arange(WHITE + 1) / WHITE - self.mean) / self.std).astype(np.float32)
        return lookup[pixels]


UNSTANDARDIZED = Standardization()


class Classifier(Protocol):
    """A network with its loss and optimizer: what every engine implements, and all that the pipeline uses of one."""

    standardization: Standardization

    def train_batch(self, images: Images, labels: Labels, learning_rate: float) -> float:
        """Take one optimizer step on a batch and return its mean loss before the step."""
        ...

    def predict(self, images: Images) -> Probabilities:
        """Return the probability of each class for each image, float32 (N, 10)."""
        ...

    def state_dict(self) -> StateDict:
        """Return copies of the weights that predict, under the names that PyTorch gives them, such as ``1.weight``."""
        ...

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Copy in weights of the same names and shapes. Raises ValueError when they do not fit."""
        ...

    def parameter_count(self) -> int:
        """Number of trainable parameters."""
        ...

    def training_state(self) -> StateDict:
        """Return copies of all that training changes (weights, optimizer, generators), so that it can be resumed."""
        ...

    def load_training_state(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Resume from a :meth:`training_state` of an equal classifier.

        Raises ValueError, and changes nothing, for the state of another one.
        """
        ...

    def to_bytes(self) -> bytes:
        """Return the weights, the network's config and the standardization, in the engine's own file format."""
        ...

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Rebuild a classifier from :meth:`to_bytes`, to predict. Raises ValueError when it cannot; runs no code."""
        ...


def predict_in_batches(classifier: Classifier, images: Images) -> Probabilities:
    """Predict any number of images in batches, so that memory stays bounded. Returns float32 (N, 10)."""
    starts = range(0, len(images), PREDICTION_BATCH)
    return np.concatenate([classifier.predict(images[start : start + PREDICTION_BATCH]) for start in starts])


def check_training_state(state: Mapping[str, np.ndarray[Any, Any]], expected: StateDict) -> None:
    """Raise ValueError unless ``state`` has the names of ``expected``, with arrays of the same shapes and dtypes."""
    for name in sorted(state.keys() | expected.keys()):
        given, wanted = _describe(state.get(name)), _describe(expected.get(name))
        if given != wanted:
            raise ValueError(f"the training state does not fit: {name!r} must be {wanted}, got {given}")


def _describe(array: np.ndarray[Any, Any] | None) -> str:
    """Type and shape; text of any length is of one type."""
    return "absent" if array is None else f"{array.dtype.type.__name__} {array.shape}"
