"""Evaluate one trained model on the test split: ``python -m stages.evaluate ENGINE``, a key of ``ENGINES``."""

import json
from pathlib import Path

from stages.engines import ENGINES, load
from stages.evaluation.results import engine_metrics, rounded
from stages.evaluation.tables import make_tables
from stages.pipeline.classifier import IMAGE_SHAPE, StateDict, predict_in_batches
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_csv, write_json, write_npy
from stages.pipeline.splits import FILTERS, PREDICTIONS, Filters, load_split
from stages.pipeline.stage import engine_argument, run

DATASET = Path("data/raw/dataset.json")


def main() -> None:
    """Predict the test images, and write one engine's predictions, metrics, tables and first layer."""
    engine = engine_argument(ENGINES)
    classifier = load(engine)
    test = load_split("test")
    print(f"{engine}: predicting {len(test.labels):,} test images", flush=True)
    probabilities = predict_in_batches(classifier, test.images)
    metrics = {
        "dataset": read_dataset_name(),
        "parameters": classifier.parameter_count(),
        **engine_metrics(probabilities, test.labels),
    }
    write_npy(PREDICTIONS / f"{engine}.npy", probabilities)
    write_npy(FILTERS / f"{engine}.npy", first_filters(classifier.state_dict()))
    write_json(Path(f"metrics/{engine}.json"), rounded(metrics))
    for name, table in make_tables(probabilities, test.labels).items():
        write_csv(Path(f"plots/{engine}/{name}.csv"), table.columns, rounded(table.rows))
    print(f"{engine}: {metrics['accuracy']:.2%} of {len(test.labels)} test images, {metrics['dataset']}")


def first_filters(state: StateDict) -> Filters:
    """The first layer's weights as images: (units, 28, 28), or (kernels, height, width) of a convolution."""
    weight = next(array for array in state.values() if array.ndim > 1)
    return weight.reshape(-1, *(IMAGE_SHAPE if weight.ndim == 2 else weight.shape[-2:]))


def read_dataset_name() -> str:
    """Return the name of the dataset as the fetch stage recorded it."""
    try:
        return str(json.loads(DATASET.read_bytes())["dataset"])
    except (OSError, ValueError, KeyError, TypeError):
        raise PipelineError(
            f"{DATASET}: missing or damaged; make it again with `dvc repro --force --single-item fetch`"
        ) from None


if __name__ == "__main__":
    run(main)
