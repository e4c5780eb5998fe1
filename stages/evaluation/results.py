"""The scalars of metrics/: what each JSON file holds, in the order of its keys."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.evaluation.calibration import (
    calibration_error_if_calibrated,
    calibration_error_interval,
    expected_calibration_error,
)
from stages.evaluation.metrics import (
    confusion_matrix,
    macro_f1,
    recall_per_class,
    wilson_interval,
)
from stages.pipeline.classifier import Labels, Probabilities
from stages.pipeline.history import EpochMetrics
from stages.pipeline.metrics import accuracy, cross_entropy


def engine_metrics(probabilities: Probabilities, labels: Labels) -> dict[str, Any]:
    """The metrics of one classifier, for metrics/ENGINE.json; ``per_class`` is recall, None for an absent class."""
    matrix = confusion_matrix(probabilities.argmax(axis=1), labels)
    interval = wilson_interval(int(matrix.trace()), len(labels))
    calibration = calibration_error_interval(probabilities, labels)
    return {
        "accuracy": accuracy(probabilities, labels),
        "accuracy_low": interval.low,
        "accuracy_high": interval.high,
        "error_rate": 1 - accuracy(probabilities, labels),
        "loss": cross_entropy(probabilities, labels),
        "macro_f1": macro_f1(matrix),
        "calibration_error": expected_calibration_error(probabilities, labels),
        "calibration_error_low": calibration.low,
        "calibration_error_high": calibration.high,
        "calibration_error_if_calibrated": calibration_error_if_calibrated(probabilities),
        "per_class": [None if np.isnan(recall) else recall for recall in recall_per_class(matrix).tolist()],
    }


def summary(best: Mapping[str, EpochMetrics], predicted: Mapping[str, Labels], labels: Labels) -> dict[str, Any]:
    """Accuracy on the validation split, by which to choose, its loss, and accuracy on the test split.

    For metrics/summary.json: one row of `dvc metrics show`, whose 120 columns leave no room for longer names.
    """
    return {
        engine: {
            "val": epoch.validation_accuracy,
            "val_loss": epoch.validation_loss,
            "test": float(np.mean(predicted[engine] == labels)),
        }
        for engine, epoch in best.items()
    }


def rounded(value: Any) -> Any:
    """The value with every float in it, also inside dictionaries and lists, rounded to six significant digits."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {key: rounded(item) for key, item in value.items()}
        case list() | tuple():
            return [rounded(item) for item in value]
    return value
