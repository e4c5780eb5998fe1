"""The loss: how far the predicted class probabilities are from the target distribution."""

import numpy as np
from numpy.typing import NDArray

from stages.engines.scratch.layers import Array


def log_softmax(logits: Array, dim: int = 1) -> Array:
    """log pᵢ = zᵢ − log Σⱼ exp zⱼ along ``dim`` of logits z; the maximum is subtracted first, so that exp is <= 1."""
    shifted: Array = logits - logits.max(axis=dim, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=dim, keepdims=True))
    return shifted


class CrossEntropyLoss:
    """L = −(1/N) Σₙ Σₖ qₙₖ log pₙₖ, with p = softmax(logits) and q the target distribution.

    q is one-hot; ``label_smoothing`` ε moves it to (1 − ε) q + ε / K for K classes, which keeps the logits from growing
    without bound (Szegedy et al. 2016, section 7).
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def forward(self, logits: Array, labels: NDArray[np.int64]) -> float:
        """Return the mean loss of logits (N, classes) and labels (N,)."""
        self._log_probabilities, self._labels = log_softmax(logits), labels
        loss = -self._log_probabilities[np.arange(len(labels)), labels].mean()
        if self.label_smoothing:
            loss -= self.label_smoothing * (loss + self._log_probabilities.mean())
        return float(loss)

    def backward(self) -> Array:
        """∂L/∂z = (p − q) / N: all that is left of softmax and logarithm together."""
        gradient = np.exp(self._log_probabilities)
        gradient[np.arange(len(self._labels)), self._labels] -= 1 - self.label_smoothing
        if self.label_smoothing:
            gradient -= self.label_smoothing / gradient.shape[1]
        gradient /= len(self._labels)
        return gradient
