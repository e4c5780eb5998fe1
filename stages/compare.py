"""Compare the two models digit by digit: ``python -m stages.compare``."""

from pathlib import Path

from stages.pipeline.dataset import load_labels, load_predictions
from stages.pipeline.files import write_json
from stages.pipeline.stage import run
from stages.pipeline.statistics import comparison_metrics, rounded


def main() -> None:
    """Write metrics/comparison.json from the two engines' predictions of the same test digits."""
    labels = load_labels("test")
    torch, scratch = (load_predictions(engine, len(labels)).argmax(axis=1) for engine in ("torch", "scratch"))
    metrics = comparison_metrics(torch, scratch, labels)
    write_json(Path("metrics/comparison.json"), rounded(metrics))
    print(
        f"torch - scratch: {metrics['accuracy_difference']:+.2%}, 95 % interval "
        f"{metrics['accuracy_difference_low']:+.2%} to {metrics['accuracy_difference_high']:+.2%}, "
        f"McNemar p = {metrics['mcnemar_p']:.2g}"
    )


if __name__ == "__main__":
    run(main)
