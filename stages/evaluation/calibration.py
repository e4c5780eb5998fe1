"""Calibration: how far the confidence of predictions is from how often they are correct."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.metrics import Interval
from stages.pipeline.classifier import Labels, Probabilities

BINS = 15
RESAMPLES, SEED = 1000, 1


class CalibrationBins(NamedTuple):
    """Predictions binned by confidence, the probability of the predicted class: three arrays (bins,)."""

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]  # mean; 0 in an empty bin
    accuracy: NDArray[np.float64]


def calibration_bins(probabilities: Probabilities, labels: Labels, bins: int = BINS) -> CalibrationBins:
    """Bin predictions into ``bins`` equal intervals of confidence from 0 to 1 (Guo et al. 2017)."""
    confidence, correct = _confidence(probabilities), probabilities.argmax(axis=1) == labels
    index = _bin_of(confidence, bins)
    counts = np.bincount(index, minlength=bins)
    at_least_1 = np.maximum(counts, 1)
    return CalibrationBins(
        counts,
        np.bincount(index, confidence, bins) / at_least_1,
        np.bincount(index, correct, bins) / at_least_1,
    )


def expected_calibration_error(probabilities: Probabilities, labels: Labels) -> float:
    """Mean of |accuracy − confidence| over the calibration bins, weighted by their counts (Guo et al. 2017, eq. 3)."""
    return _error(_confidence(probabilities), probabilities.argmax(axis=1) == labels)


def calibration_error_interval(probabilities: Probabilities, labels: Labels) -> Interval:
    """The basic bootstrap interval of the expected calibration error (Davison & Hinkley 1997, section 5.2.1).

    The error is biased upward, and so are its resamples, once more. The basic interval, 2 error − quantile, takes that
    off. Simulated on 10,000 images with the committed networks' confidences, where the true error is known, it covered
    that in 92 % to 93 % of cases, BCa in 91 % to 93 %, and the percentile interval, which keeps the bias, in 78 % to
    85 %. Below a quarter of these networks' errors, where calibration is almost perfect, all of them cover less.
    """
    confidence, correct = _confidence(probabilities), probabilities.argmax(axis=1) == labels
    generator, count = np.random.default_rng(SEED), len(labels)
    drawn = (generator.integers(count, size=count) for _ in range(RESAMPLES))
    errors = [_error(confidence[sample], correct[sample]) for sample in drawn]
    low, high = np.quantile(errors, [0.025, 0.975])
    error = _error(confidence, correct)
    return Interval(max(float(2 * error - high), 0.0), float(2 * error - low))


def calibration_error_if_calibrated(probabilities: Probabilities) -> float:
    """The mean error of a perfectly calibrated network with these confidences: what chance alone makes of 0.

    Each prediction is drawn as correct with the probability that is its confidence (consistency resampling, Bröcker &
    Smith 2007, "Increasing the reliability of reliability diagrams", Weather and Forecasting 22:651).
    """
    confidence, generator = _confidence(probabilities), np.random.default_rng(SEED)
    errors = [_error(confidence, generator.random(len(confidence)) < confidence) for _ in range(RESAMPLES)]
    return math.fsum(errors) / RESAMPLES


def _confidence(probabilities: Probabilities) -> NDArray[np.float64]:
    return np.asarray(probabilities.max(axis=1), np.float64)


def _bin_of(confidence: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def _error(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    gaps = np.bincount(_bin_of(confidence), correct - confidence, BINS)
    return math.fsum(np.abs(gaps)) / len(confidence)
