"""Two classifiers on the same images: the interval of their difference in accuracy, and the test that belongs to it.

Both come from one score statistic, so they never contradict each other: the 95 % interval excludes 0 exactly when the
test's p-value is below 0.05. Fagerland, Lydersen & Laake recommend the two: 2013, "The McNemar test for binary
matched-pairs data", BMC Medical Research Methodology 13:91; 2014, "Recommended tests and confidence intervals for
paired binomial proportions", Statistics in Medicine 33:2850.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from stages.evaluation.metrics import QUANTILE, Interval
from stages.pipeline.classifier import Labels


def comparison_metrics(first: Labels, second: Labels, labels: Labels) -> dict[str, Any]:
    """The metrics of two classifiers' predicted classes on the same images, for metrics/comparison.json."""
    only_first, only_second = count_discordant(first, second, labels)
    interval = tango_interval(only_first, only_second, len(labels))
    return {
        "accuracy_difference": (only_first - only_second) / len(labels),
        "accuracy_difference_low": interval.low,
        "accuracy_difference_high": interval.high,
        "mcnemar_p": mcnemar_pvalue(only_first, only_second),
        "agreement": float(np.mean(first == second)),
        "both_wrong": int(np.sum((first != labels) & (second != labels))),
    }


class Discordant(NamedTuple):
    """Images that only one of two classifiers classifies correctly."""

    only_first: int
    only_second: int


def count_discordant(first: Labels, second: Labels, labels: Labels) -> Discordant:
    """Count them from both classifiers' predicted classes."""
    first_correct, second_correct = first == labels, second == labels
    return Discordant(int(np.sum(first_correct & ~second_correct)), int(np.sum(second_correct & ~first_correct)))


def mcnemar_pvalue(only_first: int, only_second: int) -> float:
    """McNemar's test without continuity correction (McNemar 1947), of the null hypothesis of equal accuracies.

    Its statistic is (only_first − only_second)² / discordant, chi-squared with one degree of freedom: a squared normal.
    """
    discordant = only_first + only_second
    return math.erfc(abs(only_first - only_second) / math.sqrt(2 * discordant)) if discordant else 1.0


def tango_interval(only_first: int, only_second: int, total: int) -> Interval:
    """Tango's score interval of accuracy(first) − accuracy(second) on the same ``total`` images.

    It has the differences that the score test does not reject (Tango 1998, "Equivalence test and confidence interval
    for the difference in proportions for the paired-sample design", Statistics in Medicine 17:891).
    """
    estimate = (only_first - only_second) / total

    def excess(difference: float) -> float:
        """Positive where the score test rejects this difference, negative where it does not."""
        variance = _variance(difference, only_first, only_second, total)
        return float((total * (estimate - difference)) ** 2 - QUANTILE**2 * variance)

    step = 1e-12  # away from the estimate, where the excess may be 0
    low = brentq(excess, -1.0, estimate - step) if estimate > -1 else -1.0
    high = brentq(excess, estimate + step, 1.0) if estimate < 1 else 1.0
    return Interval(float(low), float(high))


def _variance(difference: float, only_first: int, only_second: int, total: int) -> float:
    """The variance of only_first − only_second where the true difference is this one.

    It follows from the probability q of an image that only the second classifies correctly, whose maximum likelihood
    estimate, given the difference, is the larger root of 2 n q² + b q + c = 0.
    """
    b = (2 * total - only_first + only_second) * difference - only_first - only_second
    c = -only_second * difference * (1 - difference)
    q = (math.sqrt(max(b**2 - 8 * total * c, 0.0)) - b) / (4 * total)
    return total * (2 * q + difference * (1 - difference))
