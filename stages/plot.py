"""Draw the figures: ``python -m stages.plot``."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from stages.engines import ENGINES
from stages.evaluation.figures import curves, mistakes, parity, reliability, weights
from stages.evaluation.figures.style import STYLE, to_png
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes
from stages.pipeline.history import load_history
from stages.pipeline.splits import load_filters, load_predictions, load_split, load_standardization
from stages.pipeline.stage import run

IMAGES = Path("plots/images")


def main() -> None:
    """Draw every figure, and leave nothing else in plots/images."""
    with style.context(STYLE):
        files = {IMAGES / f"{name}.png": to_png(figure) for name, figure in draw_all().items()}
    for path, content in files.items():
        write_bytes(path, content)
    for path in set(IMAGES.iterdir()) - set(files):
        path.unlink()  # left by an earlier version
    print(f"{len(files)} figures in {IMAGES}")


def draw_all() -> dict[str, Figure]:
    """Draw the other stages' outputs. Raises PipelineError for a file that is missing or damaged."""
    images, labels = load_split("test")
    mean, std = load_standardization()
    probabilities = {engine: load_predictions(engine, len(labels)) for engine in ENGINES}
    histories = {engine: pd.DataFrame(load_history(engine)) for engine in ENGINES}
    losses = load_table(Path("plots/parity.csv"), parity.COLUMNS, "parity")
    filters = {engine: load_filters(engine) for engine in ENGINES}
    print("drawing the figures", flush=True)
    return {
        "curves": curves.draw(histories),
        "mistakes": mistakes.draw(images * std + mean, labels, probabilities),
        "parity": parity.draw(losses),
        "reliability": reliability.draw(probabilities, labels),
        "weights": weights.draw(filters),
    }


def load_table(path: Path, columns: Sequence[str], stage: str) -> pd.DataFrame:
    """The columns of a CSV file that ``stage`` wrote, float64, at least one row."""
    try:
        table = pd.read_csv(path)[list(columns)].astype(float)
    except (OSError, ValueError, KeyError):
        raise _unreadable(path, stage) from None
    if table.empty:
        raise _unreadable(path, stage)
    return table


def _unreadable(path: Path, stage: str) -> PipelineError:
    return PipelineError(f"{path}: missing or damaged; make it again with `dvc repro --force --single-item {stage}`")


if __name__ == "__main__":
    run(main)
