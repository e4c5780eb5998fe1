"""history.csv: what training measured after each epoch, and which epoch was the best."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_csv


class EpochMetrics(NamedTuple):
    """A row of history.csv. Losses and accuracies are those of the weights at the epoch's end."""

    epoch: int
    learning_rate: float  # of the epoch's last step
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


def best_epoch(epochs: Sequence[EpochMetrics]) -> EpochMetrics:
    """The epoch of highest validation accuracy; between equals the lower validation loss, then the earlier one."""
    return max(epochs, key=lambda epoch: (epoch.validation_accuracy, -epoch.validation_loss))


def history_path(engine: str) -> Path:
    """Where the history of one engine is."""
    return Path(f"plots/{engine}/history.csv")


def write_history(path: Path, epochs: Sequence[EpochMetrics]) -> None:
    """Write all epochs so far. Raises as :func:`write_csv`."""
    write_csv(path, EpochMetrics._fields, epochs)


def load_history(engine: str) -> list[EpochMetrics]:
    """Read one engine's history, at least one epoch.

    Raises PipelineError, with the file's name, for a file that is missing or not what training writes.
    """
    path = history_path(engine)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [[float(row[name]) for name in EpochMetrics._fields] for row in csv.DictReader(file)]
        if not rows or not all(math.isfinite(value) for row in rows for value in row):
            raise ValueError
        return [EpochMetrics(int(number), *measured) for number, *measured in rows]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        raise PipelineError(
            f"{path}: missing or damaged; make it again with `dvc repro --force --single-item train_{engine}`"
        ) from None
