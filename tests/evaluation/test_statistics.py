"""The statistics against independent computations: torch, scipy, simulation, and published examples."""

import numpy as np
import pytest
import torch

from stages.compare import comparison_metrics
from stages.evaluate import engine_metrics
from stages.evaluation.statistics import calibration_error, difference_interval, mcnemar_p, wilson_interval
from stages.pipeline.metrics import cross_entropy

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(10, size=500)
LOGITS = GENERATOR.normal(size=(500, 10)) + 2 * np.eye(10)[LABELS]
PROBABILITIES = torch.softmax(torch.from_numpy(LOGITS), 1).float().numpy()
PREDICTED = PROBABILITIES.argmax(axis=1)


def test_cross_entropy_is_torchs_on_the_logits() -> None:
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(LOGITS), torch.from_numpy(LABELS)).item()
    assert cross_entropy(PROBABILITIES, LABELS) == pytest.approx(expected, rel=1e-6)


def test_a_probability_of_0_costs_much_but_not_everything() -> None:
    assert cross_entropy(np.array([[0, 1]], np.float32), np.array([0])) == pytest.approx(87.34, abs=0.01)
    assert np.isnan(cross_entropy(np.array([[np.nan, 1]], np.float32), np.array([0])))


def test_wilson_interval_of_a_published_example() -> None:
    """81 of 263: 0.2553 to 0.3662 (Newcombe 1998, Statistics in Medicine 17, table I, method 3)."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_calibration_error_by_a_plain_loop() -> None:
    confidence = PROBABILITIES.max(axis=1).astype(float)
    expected = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            gap = abs(np.mean(PREDICTED[inside] == LABELS[inside]) - confidence[inside].mean())
            expected += inside.mean() * gap
    assert calibration_error(PROBABILITIES, LABELS) == pytest.approx(expected)


def test_mcnemar_is_the_binomial_test_of_the_disagreements() -> None:
    """With 1 against 5: P(at most 1 or at least 5 of 6) = 14 / 64."""
    assert mcnemar_p(1, 5) == pytest.approx(14 / 64)
    assert mcnemar_p(0, 0) == 1


def test_the_interval_of_the_difference_covers_the_truth_19_times_in_20() -> None:
    generator = np.random.default_rng(1)
    draws = generator.multinomial(1000, [0.01, 0.02, 0.97], size=4000)
    covered = 0
    for only_first, only_second, _ in draws:
        low, high = difference_interval(only_first, only_second, 1000)
        covered += low <= -0.01 <= high
    assert 0.94 < covered / 4000 < 0.965


def test_comparison_of_two_classifiers_by_hand() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 7])
    first = np.array([0, 1, 2, 3, 4, 5, 0, 1])
    second = np.array([0, 1, 2, 3, 0, 0, 6, 1])
    metrics = comparison_metrics(first, second, labels)
    assert metrics["accuracy_difference"] == pytest.approx(1 / 8)
    assert metrics["agreement"] == pytest.approx(5 / 8)
    assert metrics["both_wrong"] == 1
    assert metrics["mcnemar_p"] == 1
    assert metrics["accuracy_difference_low"] < 1 / 8 < metrics["accuracy_difference_high"]


def test_engine_metrics_agree_with_one_another() -> None:
    metrics = engine_metrics(PROBABILITIES, LABELS)
    assert metrics["accuracy"] == np.mean(PREDICTED == LABELS) == 1 - metrics["error_rate"]
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]
    shares = np.bincount(LABELS, minlength=10) / len(LABELS)
    assert sum(shares[int(k)] * v for k, v in metrics["per_class"].items()) == pytest.approx(metrics["accuracy"])
