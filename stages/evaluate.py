"""Test one trained model: ``python -m stages.evaluate ENGINE``, where ENGINE is a key of ``ENGINES``, such as torch."""

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.engines import ENGINES, load
from stages.evaluation.confusion import (
    CONFUSION_COLUMNS,
    SCORE_COLUMNS,
    Counts,
    class_scores,
    confusion_counts,
    macro_f1,
    most_frequent_confusions,
    recall_of_classes,
)
from stages.evaluation.statistics import calibration_error, rounded, rounded_number, wilson_interval
from stages.pipeline.classifier import CLASSES, Labels, Probabilities, predict_in_batches
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_csv, write_json, write_npy
from stages.pipeline.splits import load_split
from stages.pipeline.stage import run
from stages.pipeline.metrics import accuracy, cross_entropy

DATASET = Path("data/raw/dataset.json")


def main() -> None:
    """Predict the test digits, and write one engine's predictions, metrics and confusion matrix."""
    if len(sys.argv) != 2 or sys.argv[1] not in ENGINES:
        raise PipelineError(f"name the engine to evaluate: {' or '.join(ENGINES)}")
    engine = sys.argv[1]
    classifier = load(engine)
    test = load_split("test")
    probabilities = predict_in_batches(classifier, test.images)
    metrics = {
        "dataset": read_dataset_name(),
        "parameters": classifier.parameter_count(),
        **engine_metrics(probabilities, test.labels),
    }
    write_npy(Path(f"data/predictions/{engine}.npy"), probabilities)
    write_json(Path(f"metrics/{engine}.json"), rounded(metrics))
    write_tables(Path(f"plots/{engine}"), confusion_counts(probabilities.argmax(axis=1), test.labels))
    print(f"{engine}: {metrics['accuracy']:.2%} of {len(test.labels)} test digits, {metrics['dataset']}")


def engine_metrics(probabilities: Probabilities, labels: Labels) -> dict[str, Any]:
    """The metrics of one classifier, in the order in which metrics/ENGINE.json shows them."""
    counts = confusion_counts(probabilities.argmax(axis=1), labels)
    interval = wilson_interval(int(counts.trace()), len(labels))
    return {
        "accuracy": accuracy(probabilities, labels),
        "accuracy_low": interval.low,
        "accuracy_high": interval.high,
        "error_rate": 1 - accuracy(probabilities, labels),
        "loss": cross_entropy(probabilities, labels),
        "macro_f1": macro_f1(counts),
        "calibration_error": calibration_error(probabilities, labels),
        "per_class": {
            str(digit): None if math.isnan(share) else share
            for digit, share in enumerate(recall_of_classes(counts).tolist())
        },
    }


def write_tables(folder: Path, counts: Counts) -> None:
    """Write what is too long for the metrics: the confusion matrix, scores by class, the most frequent confusions."""
    cells = [(actual, predicted, counts[actual, predicted]) for actual, predicted in np.ndindex(CLASSES, CLASSES)]
    write_table(folder / "confusion.csv", ("actual", "predicted", "count"), cells)
    write_table(folder / "classes.csv", SCORE_COLUMNS, class_scores(counts))
    write_table(folder / "confusions.csv", CONFUSION_COLUMNS, most_frequent_confusions(counts))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows with their numbers rounded."""
    write_csv(path, columns, [[rounded_number(value) for value in row] for row in rows])


def read_dataset_name() -> str:
    """Return which digits these are, as the fetch stage recorded it."""
    try:
        return str(json.loads(DATASET.read_bytes())["dataset"])
    except (OSError, ValueError, KeyError, TypeError):
        raise PipelineError(
            f"{DATASET}: missing or damaged; make it again with `dvc repro --force --single-item fetch`"
        ) from None


if __name__ == "__main__":
    run(main)
