"""Metrics of one classifier's predictions: the confusion matrix, scores per class, Wilson's interval.

Accuracy and cross-entropy, which training needs too, are in stages/pipeline/metrics.py; calibration.py
has calibration, and paired.py compares two classifiers.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.pipeline.classifier import CLASSES, Labels

ConfusionMatrix = NDArray[np.int64]  # (10, 10)
Scores = NDArray[np.float64]  # (10,)

QUANTILE = NormalDist().inv_cdf(0.975)  # of the standard normal; scipy.stats, which has it too, takes 1.5 s to import


def confusion_matrix(predicted: Labels, actual: Labels) -> ConfusionMatrix:
    """Number of images of each actual class (row) that were predicted as each class (column), int64 (10, 10)."""
    return np.bincount(actual * CLASSES + predicted, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def precision_per_class(matrix: ConfusionMatrix) -> Scores:
    """Precision TP / (TP + FP) of each class; NaN for a class that was never predicted."""
    return _divide(matrix.diagonal(), matrix.sum(axis=0))


def recall_per_class(matrix: ConfusionMatrix) -> Scores:
    """Recall TP / (TP + FN) of each class, also its accuracy; NaN for a class without images."""
    return _divide(matrix.diagonal(), matrix.sum(axis=1))


def f1_per_class(matrix: ConfusionMatrix) -> Scores:
    """F1 = 2 TP / (2 TP + FP + FN) of each class; NaN for a class that neither occurs nor was predicted."""
    return _divide(2 * matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1))


def macro_f1(matrix: ConfusionMatrix) -> float:
    """Unweighted mean of F1 over the classes that occur or were predicted, as scikit-learn's."""
    return float(np.nanmean(f1_per_class(matrix)))


def _divide(numerators: ConfusionMatrix, denominators: ConfusionMatrix) -> Scores:
    quotients = np.full(len(denominators), np.nan)
    np.divide(numerators, denominators, out=quotients, where=denominators > 0)
    return quotients


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson_interval(correct: int, total: int) -> Interval:
    """Wilson's score interval (Wilson 1927): the roots p of (correct / total − p)² = z² p (1 − p) / total."""
    square = QUANTILE**2
    center = correct + square / 2
    half_width = QUANTILE * math.sqrt(correct * (total - correct) / total + square / 4)
    return Interval((center - half_width) / (total + square), (center + half_width) / (total + square))
