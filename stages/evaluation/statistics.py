"""What predictions are worth: accuracy with its uncertainty, calibration, and the comparison of two classifiers."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from stages.pipeline.classifier import Labels, Probabilities


def rounded(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics with their numbers, and those of nested tables, to six significant digits: what a reader can use."""
    return {
        name: rounded(value) if isinstance(value, Mapping) else rounded_number(value) for name, value in metrics.items()
    }


def rounded_number(value: object) -> object:
    """A float to six significant digits; anything else as it is."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson_interval(correct: int, total: int) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927)."""
    interval = binomtest(correct, total).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(float(interval.low), float(interval.high))


class CalibrationBins(NamedTuple):
    """Predictions grouped by confidence, the probability of the predicted class: three arrays (bins,)."""

    sizes: NDArray[np.int64]
    confidence: NDArray[np.float64]  # mean; 0 in an empty bin
    accuracy: NDArray[np.float64]


def calibration_bins(probabilities: Probabilities, labels: Labels, bins: int = 15) -> CalibrationBins:
    """Group predictions into ``bins`` equal parts of the confidence from 0 to 1 (Guo et al. 2017)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    sizes = np.bincount(index, minlength=bins)
    populated = np.maximum(sizes, 1)
    return CalibrationBins(
        sizes,
        np.bincount(index, confidence, bins) / populated,
        np.bincount(index, correct, bins) / populated,
    )


def calibration_error(probabilities: Probabilities, labels: Labels) -> float:
    """Expected calibration error: the gap between confidence and accuracy, averaged over the bins by their size."""
    bins = calibration_bins(probabilities, labels)
    return float(np.sum(bins.sizes * np.abs(bins.accuracy - bins.confidence)) / len(labels))


def mcnemar_p(only_first: int, only_second: int) -> float:
    """McNemar's exact test of two classifiers, from the digits that only one of them gets right.

    The p-value of the hypothesis that either is as likely as the other to be the one that is right (McNemar 1947).
    """
    disagreements = only_first + only_second
    return float(binomtest(only_first, disagreements, 0.5).pvalue) if disagreements else 1.0


def difference_interval(only_first: int, only_second: int, total: int) -> Interval:
    """The interval of accuracy(first) − accuracy(second) on the same digits.

    Wald's interval of paired proportions after half a digit is added to each of the four cells, which keeps its
    coverage near 95 % (Agresti & Min 2005, "Simple improved confidence intervals for comparing matched proportions").
    """
    first, second, n = only_first + 0.5, only_second + 0.5, total + 2
    centre = (first - second) / n
    margin = norm.ppf(0.975) * math.sqrt(first + second - (first - second) ** 2 / n) / n
    return Interval(max(centre - margin, -1.0), min(centre + margin, 1.0))
