"""Compare torch with scratch digit by digit: ``python -m stages.compare``.

These two alone, whatever other engines there are: the project's question is about them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.evaluation.statistics import difference_interval, mcnemar_p, rounded
from stages.pipeline.classifier import Labels, Probabilities
from stages.pipeline.files import write_json
from stages.pipeline.splits import load_labels, load_predictions
from stages.pipeline.stage import run
from stages.pipeline.metrics import accuracy, cross_entropy


def main() -> None:
    """Write metrics/comparison.json and metrics/summary.json from both engines' predictions of the same digits."""
    labels = load_labels("test")
    torch, scratch = (load_predictions(engine, len(labels)) for engine in ("torch", "scratch"))
    metrics = comparison_metrics(torch.argmax(axis=1), scratch.argmax(axis=1), labels)
    write_json(Path("metrics/comparison.json"), rounded(metrics))
    write_json(Path("metrics/summary.json"), rounded(summary({"torch": torch, "scratch": scratch}, labels, metrics)))
    print(
        f"torch - scratch: {metrics['accuracy_difference']:+.2%}, 95 % interval "
        f"{metrics['accuracy_difference_low']:+.2%} to {metrics['accuracy_difference_high']:+.2%}, "
        f"McNemar p = {metrics['mcnemar_p']:.2g}"
    )


def comparison_metrics(first: Labels, second: Labels, labels: Labels) -> dict[str, Any]:
    """The metrics of two classifiers' predicted classes on the same digits, as metrics/comparison.json shows them."""
    only_first = int(np.sum((first == labels) & (second != labels)))
    only_second = int(np.sum((second == labels) & (first != labels)))
    interval = difference_interval(only_first, only_second, len(labels))
    return {
        "accuracy_difference": (only_first - only_second) / len(labels),
        "accuracy_difference_low": interval.low,
        "accuracy_difference_high": interval.high,
        "mcnemar_p": mcnemar_p(only_first, only_second),
        "agreement": float(np.mean(first == second)),
        "both_wrong": int(np.sum((first != labels) & (second != labels))),
    }


def summary(
    probabilities: Mapping[str, Probabilities], labels: Labels, comparison: Mapping[str, Any]
) -> dict[str, Any]:
    """The few scalars that DVC's tables show: one row of `dvc metrics show`, narrower than 120 columns."""
    engines = {
        engine: {"accuracy": accuracy(each, labels), "loss": cross_entropy(each, labels)}
        for engine, each in probabilities.items()
    }
    return {**engines, "difference": comparison["accuracy_difference"], "mcnemar_p": comparison["mcnemar_p"]}


if __name__ == "__main__":
    run(main)
