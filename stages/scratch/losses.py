"""The loss: how far the predicted probabilities are from the right classes."""

import numpy as np
from numpy.typing import NDArray

from stages.scratch.layers import Array


def log_softmax(logits: Array) -> Array:
    """log pᵢ = zᵢ − log Σⱼ exp zⱼ for logits z (N, classes); each row's maximum goes first, so that exp is <= 1."""
    shifted: Array = logits - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


class CrossEntropyLoss:
    """L = −(1/N) Σₙ log p(label of example n), with p = softmax(logits)."""

    def forward(self, logits: Array, labels: NDArray[np.int64]) -> float:
        """Return the mean loss of logits (N, classes) and labels (N,)."""
        self._log_probabilities, self._labels = log_softmax(logits), labels
        return float(-self._log_probabilities[np.arange(len(labels)), labels].mean())

    def backward(self) -> Array:
        """∂L/∂z = (p − y) / N, with y the labels one-hot: softmax and logarithm together leave only this."""
        gradient = np.exp(self._log_probabilities)
        gradient[np.arange(len(self._labels)), self._labels] -= 1
        gradient /= len(self._labels)
        return gradient
