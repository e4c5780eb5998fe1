"""Scores by class and the most frequent confusions, from first principles."""

import math

import numpy as np
import pytest

from stages.evaluation.confusion import (
    CONFUSION_COLUMNS,
    SCORE_COLUMNS,
    class_scores,
    confusion_counts,
    macro_f1,
    most_frequent_confusions,
)
from stages.evaluation.statistics import wilson_interval

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(10, size=500)
PREDICTED = np.where(GENERATOR.random(500) < 0.8, LABELS, GENERATOR.integers(10, size=500))
COUNTS = confusion_counts(PREDICTED, LABELS)


def test_every_cell_counts_its_digits() -> None:
    for actual, predicted in np.ndindex(10, 10):
        assert COUNTS[actual, predicted] == np.sum((LABELS == actual) & (PREDICTED == predicted))


def test_scores_of_each_class_from_first_principles() -> None:
    f1s = []
    for digit, row in enumerate(class_scores(COUNTS)):
        scores = dict(zip(SCORE_COLUMNS, row, strict=True))
        hits = sum(1 for p, a in zip(PREDICTED, LABELS, strict=True) if p == a == digit)
        precision, recall = hits / np.sum(PREDICTED == digit), hits / np.sum(LABELS == digit)
        f1s.append(2 * precision * recall / (precision + recall))
        low, high = wilson_interval(hits, int(np.sum(LABELS == digit)))
        expected = [digit, np.sum(LABELS == digit), precision, recall, low, high, f1s[-1]]
        assert list(scores.values()) == pytest.approx(expected)
    assert macro_f1(COUNTS) == pytest.approx(np.mean(f1s))


def test_a_class_that_does_not_occur_has_no_scores_and_counts_as_0_in_the_mean() -> None:
    counts = confusion_counts(np.array([1, 2]), np.array([1, 1]))
    absent, present, only_answered = class_scores(counts)[:3]
    assert all(math.isnan(score) for score in absent[2:])
    assert present[2:4] == (1, 0.5)
    assert only_answered[2] == 0
    assert math.isnan(only_answered[3])
    assert macro_f1(counts) == pytest.approx(2 / 3 / 10)


def test_the_most_frequent_confusions_come_first_and_the_right_answers_not_at_all() -> None:
    labels = np.array([4, 4, 4, 4, 7, 7, 2, 5, 5, 5, 5])
    predicted = np.array([9, 9, 9, 4, 1, 1, 7, 5, 5, 5, 5])
    rows = most_frequent_confusions(confusion_counts(predicted, labels))
    assert CONFUSION_COLUMNS == ("actual", "predicted", "count", "share")
    assert rows == [(4, 9, 3, 0.75), (7, 1, 2, 1.0), (2, 7, 1, 1.0)]
    assert len(most_frequent_confusions(COUNTS)) == 10
    worst = [row[2] for row in most_frequent_confusions(COUNTS)]
    assert worst == sorted(COUNTS[~np.eye(10, dtype=bool)].tolist(), reverse=True)[:10]
