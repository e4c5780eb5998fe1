"""The network, its loss and its optimizer together: a classifier of digits that the pipeline can train."""

import io
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stages.scratch.initializers import INITIALIZERS
from stages.scratch.layers import Array, Linear
from stages.scratch.losses import CrossEntropyLoss, log_softmax
from stages.scratch.network import Network, dense_layers
from stages.scratch.optimizers import make_optimizer

PIXELS, CLASSES = 28 * 28, 10


class ScratchClassifier:
    """A dense network of ``hidden`` ReLU layers between 784 pixels and 10 classes, biases starting at 0.

    Images are (N, 28, 28) and labels (N,); all arithmetic is in ``dtype``. Unknown names raise KeyError.
    """

    def __init__(
        self,
        hidden: Sequence[int],
        generator: np.random.Generator,
        initialization: str = "xavier_uniform",
        optimizer: str = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.hidden = list(hidden)
        self.network = Network(dense_layers([PIXELS, *hidden, CLASSES]), dtype)
        for layer in self.network.layers:
            if isinstance(layer, Linear):
                layer.parameters["weight"][...] = INITIALIZERS[initialization](
                    generator, layer.out_features, layer.in_features
                )
        self.loss = CrossEntropyLoss()
        self.optimizer = make_optimizer(
            optimizer, self.network.parameters, self.network.gradients, momentum, weight_decay
        )

    def train_batch(self, images: Array, labels: NDArray[np.int64], learning_rate: float) -> float:
        """Forward, loss, backward, step. Returns the batch's mean loss before the step."""
        logits = self.network.forward(images)
        loss = self.loss.forward(logits, labels)
        self.network.backward(self.loss.backward())
        self.optimizer.step(learning_rate)
        return loss

    def predict(self, images: Array) -> NDArray[np.float32]:
        """Return the probability of each class, float32 (N, 10)."""
        return np.exp(log_softmax(self.network.forward(images))).astype(np.float32)

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of the weights: ``1.weight`` (out, in), ``1.bias`` (out,), ... as PyTorch would."""
        return {name: array.copy() for name, array in self.network.named_parameters().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Take over weights of the same names and shapes. Raises ValueError when they do not fit."""
        self.network.load(state)

    def to_bytes(self) -> bytes:
        """Return an .npz file with the weights and, as JSON text under ``network``, what rebuilds the network."""
        buffer = io.BytesIO()
        weights: dict[str, Any] = self.state_dict()
        np.savez(buffer, network=np.array(json.dumps({"hidden": self.hidden})), **weights)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Rebuild a classifier from :meth:`to_bytes`. Raises ValueError when it cannot; never unpickles."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                if any(member.compress_type for member in file.zip.infolist()):
                    raise ValueError("compressed")  # it could swell without limit
                state = dict(file)
            hidden = json.loads(str(state.pop("network")))["hidden"]
            expected = [(units, inputs) for inputs, units in pairwise([PIXELS, *hidden, CLASSES])]
            if [array.shape for array in state.values() if array.ndim == 2] != expected:  # allocate nothing on trust
                raise ValueError(f"weights do not fit the network: hidden layers {hidden} declared")
            classifier = cls(hidden, np.random.default_rng(0))
            classifier.load_state_dict(state)
        except Exception as error:  # damaged bytes can fail anywhere in the reading
            raise ValueError(f"not a model of this network: {str(error)[:200]!r}") from None
        return classifier
