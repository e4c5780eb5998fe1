"""The two metrics that training and evaluation share: accuracy and cross-entropy."""

import math

import numpy as np

from stages.pipeline.classifier import Labels, Probabilities

SMALLEST = float(np.finfo(np.float32).tiny)


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """The fraction of images whose most probable class is the label."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def cross_entropy(probabilities: Probabilities, labels: Labels) -> float:
    """The mean of −log p(label), in nats; a probability that underflowed to 0 counts as the smallest float32."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(right, SMALLEST)).mean()) if np.isfinite(right).all() else math.nan
