"""Draw the pictures: ``python -m stages.plot``."""

import json
from pathlib import Path

import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from stages.engines import ENGINES, load
from stages.evaluation.confusion import confusion_counts
from stages.evaluation.figures import accuracy_by_class, confusion, curves, mistakes, reliability, weights
from stages.evaluation.figures.style import STYLE, to_png
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes
from stages.pipeline.splits import PROCESSED, load_predictions, load_split
from stages.pipeline.stage import run
from stages.training.loop import Epoch

IMAGES = Path("plots/images")


def main() -> None:
    """Draw every picture, and leave nothing else in plots/images."""
    with style.context(STYLE):
        pictures = {IMAGES / f"{name}.png": to_png(figure) for name, figure in draw_all().items()}
    for path, content in pictures.items():
        write_bytes(path, content)
    for path in set(IMAGES.iterdir()) - set(pictures):
        path.unlink()  # of an earlier version
    print(f"{len(pictures)} pictures in {IMAGES}")


def draw_all() -> dict[str, Figure]:
    """Read what the other stages left, and draw it. Raises PipelineError for a file that is missing or damaged."""
    images, labels = load_split("test")
    mean, deviation = load_standardisation()
    histories = {engine: load_history(engine) for engine in ENGINES}
    probabilities = {engine: load_predictions(engine, len(labels)) for engine in ENGINES}
    counts = {engine: confusion_counts(each.argmax(axis=1), labels) for engine, each in probabilities.items()}
    return {
        "curves": curves.draw(histories),
        "confusion": confusion.draw(counts),
        "accuracy_by_class": accuracy_by_class.draw(counts),
        "mistakes": mistakes.draw(images * deviation + mean, labels, probabilities),
        "reliability": reliability.draw(probabilities, labels),
        "weights": weights.draw({engine: load(engine).state_dict() for engine in ENGINES}),
    }


def load_standardisation() -> tuple[float, float]:
    """Mean and standard deviation by which preprocess standardised the pixels."""
    path = PROCESSED / "standardisation.json"
    try:
        content = json.loads(path.read_bytes())
        return float(content["mean"]), float(content["std"])
    except (OSError, ValueError, KeyError, TypeError):
        raise PipelineError(f"{path}: missing or damaged; make it with `dvc repro --force preprocess`") from None


def load_history(engine: str) -> pd.DataFrame:
    """The history of one engine's training, a row for each epoch."""
    path = f"plots/{engine}/history.csv"
    try:
        history = pd.read_csv(path)[list(Epoch._fields)].astype(float)
    except (OSError, ValueError, KeyError):
        raise PipelineError(f"{path}: missing or damaged; make it with `dvc repro --force train_{engine}`") from None
    return history


if __name__ == "__main__":
    run(main)
