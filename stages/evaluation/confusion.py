"""Which classes are taken for which, and how well each is recognised: all of it from one table of counts."""

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.statistics import wilson_interval
from stages.pipeline.classifier import CLASSES, Labels

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]


SCORE_COLUMNS = ("class", "digits", "precision", "recall", "recall_low", "recall_high", "f1")
CONFUSION_COLUMNS = ("actual", "predicted", "count", "share")


def confusion_counts(predicted: Labels, actual: Labels) -> Counts:
    """How often each class (row) was taken for each class (column), int64 (10, 10)."""
    return np.bincount(actual * CLASSES + predicted, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def precision_of_classes(counts: Counts) -> Shares:
    """The share of the digits taken for each class that are of it; nan for a class that was never the answer."""
    return _shares(counts.diagonal(), counts.sum(axis=0))


def recall_of_classes(counts: Counts) -> Shares:
    """The share of each class's digits that was recognised, its accuracy; nan for a class without digits."""
    return _shares(counts.diagonal(), counts.sum(axis=1))


def f1_of_classes(counts: Counts) -> Shares:
    """F1 = 2 TP / (2 TP + FP + FN) of each class; nan where a class neither occurs nor is answered."""
    return _shares(2 * counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1))


def macro_f1(counts: Counts) -> float:
    """The mean of the classes' F1, in which 0 / 0 counts as 0."""
    return float(np.mean(np.nan_to_num(f1_of_classes(counts))))


def class_scores(counts: Counts) -> list[tuple[float, ...]]:
    """A row of SCORE_COLUMNS for each class: how many digits it has, and its scores; the interval is Wilson's."""
    scores = zip(precision_of_classes(counts), recall_of_classes(counts), f1_of_classes(counts), strict=True)
    rows: list[tuple[float, ...]] = []
    for digit, (precision, recall, f1) in enumerate(scores):
        right, total = int(counts[digit, digit]), int(counts[digit].sum())
        low, high = wilson_interval(right, total) if total else (np.nan, np.nan)
        rows.append((digit, total, precision, recall, low, high, f1))
    return rows


def most_frequent_confusions(counts: Counts, limit: int = 10) -> list[tuple[float, ...]]:
    """A row of CONFUSION_COLUMNS for each wrong answer of the most frequent, equals in the order of their classes.

    ``share`` is that of the actual class's digits.
    """
    wrong = [(-int(counts[cell]), *cell) for cell in np.ndindex(counts.shape) if cell[0] != cell[1] and counts[cell]]
    return [
        (actual, predicted, -negative, -negative / int(counts[actual].sum()))
        for negative, actual, predicted in sorted(wrong)[:limit]
    ]


def _shares(parts: Counts, totals: Counts) -> Shares:
    shares = np.full(len(totals), np.nan)
    np.divide(parts, totals, out=shares, where=totals > 0)
    return shares
