"""Test one trained model: ``python -m stages.evaluate torch`` or ``python -m stages.evaluate scratch``."""

import json
import sys
from pathlib import Path

import numpy as np

from stages.pipeline.classifier import CLASSES, Classifier, predict_in_batches
from stages.pipeline.dataset import load_split
from stages.pipeline.files import write_csv, write_json, write_npy
from stages.pipeline.stage import PipelineError, run
from stages.pipeline.statistics import confusion_counts, engine_metrics, rounded

MODELS = {"torch": Path("models/torch/mnist_model.pth"), "scratch": Path("models/scratch/model.npz")}
DATASET = Path("data/raw/dataset.json")


def main() -> None:
    """Predict the test digits, and write one engine's predictions, metrics and confusion matrix."""
    if len(sys.argv) != 2 or sys.argv[1] not in MODELS:
        raise PipelineError(f"name the engine to evaluate: {' or '.join(MODELS)}")
    engine = sys.argv[1]
    classifier = load_classifier(engine)
    test = load_split("test")
    probabilities = predict_in_batches(classifier, test.images)
    metrics = {
        "dataset": read_dataset_name(),
        "parameters": classifier.parameter_count(),
        **engine_metrics(probabilities, test.labels),
    }
    write_npy(Path(f"data/predictions/{engine}.npy"), probabilities)
    write_json(Path(f"metrics/{engine}.json"), rounded(metrics))
    counts = confusion_counts(probabilities.argmax(axis=1), test.labels)
    rows = [(actual, predicted, counts[actual, predicted]) for actual, predicted in np.ndindex(CLASSES, CLASSES)]
    write_csv(Path(f"plots/{engine}/confusion.csv"), ("actual", "predicted", "count"), rows)
    print(f"{engine}: {metrics['accuracy']:.2%} of {len(test.labels)} test digits, {metrics['dataset']}")


def read_dataset_name() -> str:
    """Return which digits these are, as the fetch stage recorded it."""
    try:
        return str(json.loads(DATASET.read_bytes())["dataset"])
    except (OSError, ValueError, KeyError, TypeError):
        raise PipelineError(
            f"{DATASET}: missing or damaged; make it again with `dvc repro --force --single-item fetch`"
        ) from None


def load_classifier(engine: str) -> Classifier:
    """Return an engine's trained classifier. Imports that engine alone, because PyTorch takes seconds to load.

    Raises PipelineError for a model file that is missing or damaged.
    """
    path = MODELS[engine]
    try:
        content = path.read_bytes()
        if engine == "torch":
            from stages.torch_engine.classifier import TorchClassifier

            return TorchClassifier.from_bytes(content)
        from stages.scratch.classifier import ScratchClassifier

        return ScratchClassifier.from_bytes(content)
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing; train it with `dvc repro train_{engine}`") from None
    except ValueError as error:
        raise PipelineError(f"{path}: {error}; train it again with `dvc repro --force train_{engine}`") from None


if __name__ == "__main__":
    run(main)
