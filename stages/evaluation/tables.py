"""The tables of plots/ENGINE/: the confusion matrix, scores per class, the most frequent confusions, the mistakes."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from stages.evaluation.metrics import (
    ConfusionMatrix,
    confusion_matrix,
    f1_per_class,
    precision_per_class,
    recall_per_class,
    wilson_interval,
)
from stages.pipeline.classifier import Labels, Probabilities

Rows = list[tuple[float, ...]]


class Table(NamedTuple):
    """A CSV file's columns and rows."""

    columns: tuple[str, ...]
    rows: Rows


def make_tables(probabilities: Probabilities, labels: Labels) -> dict[str, Table]:
    """All tables of one engine, by the name of their file."""
    matrix = confusion_matrix(probabilities.argmax(axis=1), labels)
    cells: Rows = [(actual, predicted, int(count)) for (actual, predicted), count in np.ndenumerate(matrix)]
    return {
        "confusion": Table(("actual", "predicted", "count"), cells),
        "classes": Table(
            ("class", "support", "precision", "recall", "recall_low", "recall_high", "f1"), list(_class_rows(matrix))
        ),
        "confusions": Table(("actual", "predicted", "count", "fraction"), most_frequent_confusions(matrix)),
        "mistakes": Table(("index", "actual", "predicted", "confidence"), mistakes(probabilities, labels)),
    }


def _class_rows(matrix: ConfusionMatrix) -> Iterator[tuple[float, ...]]:
    """Scores of each class, recall with its Wilson interval; NaN where a score is undefined."""
    scores = zip(precision_per_class(matrix), recall_per_class(matrix), f1_per_class(matrix), strict=True)
    for label, (precision, recall, f1) in enumerate(scores):
        support = int(matrix[label].sum())
        low, high = wilson_interval(int(matrix[label, label]), support) if support else (np.nan, np.nan)
        yield label, support, precision, recall, low, high, f1


def most_frequent_confusions(matrix: ConfusionMatrix, limit: int = 10) -> Rows:
    """Rows (actual, predicted, count, fraction of the actual class), the largest count first, ties by class."""
    errors = [(-int(count), *cell) for cell, count in np.ndenumerate(matrix) if cell[0] != cell[1] and count]
    return [
        (actual, predicted, -negative, -negative / int(matrix[actual].sum()))
        for negative, actual, predicted in sorted(errors)[:limit]
    ]


def mistakes(probabilities: Probabilities, labels: Labels) -> Rows:
    """Rows (index, actual, predicted, confidence) of the misclassified images, by which git compares commits."""
    predicted = probabilities.argmax(axis=1)
    return [
        (int(index), int(labels[index]), int(predicted[index]), float(probabilities[index].max()))
        for index in np.flatnonzero(predicted != labels)
    ]
