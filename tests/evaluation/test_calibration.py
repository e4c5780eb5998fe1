"""The calibration error, its interval and its expectation, against plain loops, closed forms and known truths."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, bootstrap

from stages.evaluation.calibration import (
    BINS,
    calibration_bins,
    calibration_error_if_calibrated,
    calibration_error_interval,
    expected_calibration_error,
)

GENERATOR = np.random.default_rng(0)


def with_confidences(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities and labels that have them: class 3 is predicted, and 7 is what an error should have been."""
    probabilities = np.repeat((1 - confidence[:, None]) / 9, 10, axis=1)
    probabilities[:, 3] = confidence
    return probabilities.astype(np.float32), np.where(correct, 3, 7)


CONFIDENCE = GENERATOR.uniform(0.2, 1, size=600)
CORRECT = GENERATOR.random(600) < CONFIDENCE**2
PROBABILITIES, LABELS = with_confidences(CONFIDENCE, CORRECT)


def error_of_bins(confidence: NDArray[np.float64], correct: NDArray[np.bool_], number: int) -> float:
    """By a plain loop."""
    total = 0.0
    for k in range(number):
        inside = (confidence > k / number) & (confidence <= (k + 1) / number)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


def test_the_error_is_that_of_15_bins_and_of_no_other_number() -> None:
    error = expected_calibration_error(PROBABILITIES, LABELS)
    assert error == pytest.approx(error_of_bins(PROBABILITIES.max(axis=1).astype(float), CORRECT, 15), rel=1e-9)
    confidence = GENERATOR.uniform(0.2, 1, 3000)
    correct = np.ceil(confidence * 15).astype(int) % 2 == 0  # right in every other bin: the mean of two says nothing
    error = expected_calibration_error(*with_confidences(confidence, correct))
    assert error == pytest.approx(error_of_bins(confidence, correct, 15), abs=1e-5)
    assert error - 0.03 > max(error_of_bins(confidence, correct, number) for number in range(1, 15))


def test_the_bins_hold_counts_confidence_and_accuracy_with_the_upper_edge_inside() -> None:
    probabilities, labels = with_confidences(np.array([0.25, 0.5, 0.5, 0.75, 1.0]), np.array([1, 1, 0, 0, 1]) == 1)
    counts, confidence, accuracy = calibration_bins(probabilities, labels, bins=4)
    assert counts.tolist() == [1, 2, 1, 1]
    np.testing.assert_allclose(confidence, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(accuracy, [1, 0.5, 0, 1])
    counts, confidence, accuracy = calibration_bins(probabilities[:1], labels[:1])
    assert (len(counts), counts.sum(), counts[3]) == (BINS, 1, 1)
    assert confidence.sum() == 0.25  # 0 in the empty bins
    assert accuracy.sum() == 1
    above = np.nextafter(np.float32(1), np.float32(2))  # by rounding
    counts, *_ = calibration_bins(np.array([[0, 0], [1, 0], [above, 0]], np.float32), np.array([0, 0, 0]))
    assert (len(counts), counts[0], counts[-1]) == (BINS, 1, 2)


def test_the_interval_is_scipys_basic_bootstrap() -> None:
    """With the same number of resamples of another generator, to the noise of both."""
    ours = calibration_error_interval(PROBABILITIES, LABELS)
    expected = bootstrap(
        (np.arange(600),),
        lambda drawn: expected_calibration_error(PROBABILITIES[drawn], LABELS[drawn]),
        method="basic",
        n_resamples=2000,
        vectorized=False,
        rng=np.random.default_rng(4),
    ).confidence_interval
    width = expected.high - expected.low
    assert ours == pytest.approx((expected.low, expected.high), abs=0.06 * width)
    assert calibration_error_interval(PROBABILITIES, LABELS) == ours


def test_the_interval_of_one_bin_is_that_of_its_mean_gap() -> None:
    """Where every image is in one bin, the error is |mean gap|: its interval is the mean's, by the normal quantile."""
    confidence, correct = np.full(5000, 0.97), np.random.default_rng(2).random(5000) < 0.9
    low, high = calibration_error_interval(*with_confidences(confidence, correct))
    error, margin = 0.97 - correct.mean(), 1.96 * correct.std() / np.sqrt(5000)
    assert (low, high) == pytest.approx((error - margin, error + margin), abs=0.08 * margin)


def test_the_interval_does_not_reach_below_0() -> None:
    confidence = np.full(1000, 0.9)
    low, high = calibration_error_interval(*with_confidences(confidence, np.arange(1000) < 902))
    assert low == 0 < high


def test_what_chance_alone_makes_of_a_calibrated_network_is_the_mean_deviation_of_the_binomial() -> None:
    """In closed form: E|B(n, p) / n − p| in each bin, weighted by its images."""
    confidence = np.repeat([0.3, 0.55, 0.9, 0.99], [50, 70, 80, 800])
    expected = 0.0
    for p, n in zip(*np.unique(confidence, return_counts=True), strict=True):
        counts = np.arange(n + 1)
        expected += float(binom.pmf(counts, n, p) @ np.abs(counts - n * p)) / len(confidence)
    found = calibration_error_if_calibrated(with_confidences(confidence, confidence > 0)[0])
    assert found == pytest.approx(expected, rel=0.03)
