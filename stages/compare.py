"""Compare torch with scratch image by image: ``python -m stages.compare``.

Only these two, whatever other engines there are: the project's question is about them.
"""

from pathlib import Path

from stages.evaluation.paired import comparison_metrics
from stages.evaluation.results import rounded, summary
from stages.pipeline.files import write_json
from stages.pipeline.history import best_epoch, load_history
from stages.pipeline.splits import load_labels, load_predictions
from stages.pipeline.stage import run

ENGINES = ("torch", "scratch")


def main() -> None:
    """Write metrics/comparison.json and metrics/summary.json from both engines' predictions of the same images."""
    labels = load_labels("test")
    predicted = {engine: load_predictions(engine, len(labels)).argmax(axis=1) for engine in ENGINES}
    metrics = comparison_metrics(predicted["torch"], predicted["scratch"], labels)
    best = {engine: best_epoch(load_history(engine)) for engine in ENGINES}
    write_json(Path("metrics/comparison.json"), rounded(metrics))
    write_json(Path("metrics/summary.json"), rounded(summary(best, predicted, labels)))
    print(
        f"torch - scratch: {metrics['accuracy_difference']:+.2%}, 95 % interval "
        f"{metrics['accuracy_difference_low']:+.2%} to {metrics['accuracy_difference_high']:+.2%}, "
        f"McNemar p = {metrics['mcnemar_p']:.2g}"
    )


if __name__ == "__main__":
    run(main)
