"""The training loop: the same for both engines, so that they differ in nothing but the network's arithmetic."""

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from stages.pipeline.classifier import Classifier, predict_in_batches
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_csv
from stages.pipeline.params import TrainingParameters
from stages.pipeline.rng import Generators
from stages.pipeline.splits import Split, shuffled_batches
from stages.training.augmentation import Augmentation
from stages.training.checkpoint import Checkpoint, Progress
from stages.training.metrics import accuracy, cross_entropy
from stages.training.schedules import Schedule, make_schedule


class Epoch(NamedTuple):
    """A row of history.csv. Losses and accuracies are those of the weights at the epoch's end."""

    epoch: int
    learning_rate: float  # of the epoch's last step
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


class Timing(NamedTuple):
    """What training took."""

    train_seconds: float  # the whole loop, with the measurements after each epoch
    images_per_second: float  # digits learnt in a second, those measurements apart


def train(
    classifier: Classifier,
    training: Split,
    validation: Split,
    parameters: TrainingParameters,
    generators: Generators,
    history: Path,
    checkpoint: Checkpoint,
) -> Timing:
    """Train for ``parameters.epochs``, or until none is better for ``patience``; leave the best epoch's weights.

    The best epoch has the highest validation accuracy; between equals, the lower validation loss. ``train_loss`` and
    ``train_accuracy`` are measured as those of the validation split are, on as many training digits, undistorted.
    ``history`` and ``checkpoint`` are rewritten after every epoch. Raises PipelineError when a loss is not finite.
    """
    _require_batches_to_normalise(training, parameters)
    progress = checkpoint.load(classifier) if parameters.resume else Progress()
    epochs = [Epoch(int(number), *measured) for number, *measured in progress.history]
    if epochs:  # the file may be another run's by now
        write_csv(history, Epoch._fields, epochs)
    schedule = make_schedule(parameters, _steps(training, parameters))
    augment = Augmentation(parameters, float(training.images.min())) if parameters.augment else None
    sample = _evenly_spaced(training, len(validation.labels))
    while len(epochs) < parameters.epochs and not _out_of_patience(epochs, parameters.patience):
        started = time.perf_counter()
        batches = shuffled_batches(training, parameters.batch_size, generators.shuffling)
        if augment:
            batches = (Split(augment(batch.images, generators.augmentation), batch.labels) for batch in batches)
        rate = _learn(classifier, batches, _steps(training, parameters), parameters, schedule, epochs)
        progress.learning_seconds += time.perf_counter() - started
        epoch = Epoch(len(epochs) + 1, rate, *_measure(classifier, sample), *_measure(classifier, validation))
        if not math.isfinite(epoch.validation_loss):
            raise _divergence(epoch.validation_loss, epoch.epoch, "its end", rate)
        epochs.append(epoch)
        write_csv(history, Epoch._fields, epochs)
        if epoch is _best(epochs):
            progress.best_state = classifier.state_dict()
        progress.history = [list(epoch) for epoch in epochs]
        progress.seconds += time.perf_counter() - started
        checkpoint.save(classifier, progress)
        print(_line(epoch, parameters.epochs), flush=True)
    if len(epochs) < parameters.epochs:
        print(f"stopped early: no epoch was better than epoch {_best(epochs).epoch}", flush=True)
    classifier.load_state_dict(progress.best_state)
    learnt = len(epochs) * len(training.labels)
    return Timing(round(progress.seconds, 2), round(learnt / progress.learning_seconds))


def _best(epochs: Sequence[Epoch]) -> Epoch:
    """The first of the best."""
    return max(epochs, key=lambda epoch: (epoch.validation_accuracy, -epoch.validation_loss))


def _out_of_patience(epochs: Sequence[Epoch], patience: int) -> bool:
    return bool(epochs) and 0 < patience <= len(epochs) - _best(epochs).epoch


def _require_batches_to_normalise(training: Split, parameters: TrainingParameters) -> None:
    if (
        parameters.batch_norm
        and parameters.hidden
        and 1 in (parameters.batch_size, len(training.labels) % parameters.batch_size)
    ):
        raise PipelineError(
            f"batch_norm cannot learn from a batch of one digit, and batch_size {parameters.batch_size} leaves one of "
            f"{len(training.labels)}: choose another batch_size"
        )


def _steps(training: Split, parameters: TrainingParameters) -> int:
    """Batches in an epoch, the last one perhaps smaller."""
    return math.ceil(len(training.labels) / parameters.batch_size)


def _learn(
    classifier: Classifier,
    batches: Iterable[Split],
    steps: int,
    parameters: TrainingParameters,
    schedule: Schedule,
    epochs: Sequence[Epoch],
) -> float:
    """Learn from one epoch's batches, after those ``epochs``. Returns the last learning rate, to six digits."""
    number, learning_rate = len(epochs) + 1, math.nan
    known = f", validation accuracy {epochs[-1].validation_accuracy:.2%}" if epochs else ""
    with tqdm(batches, f"epoch {number}/{parameters.epochs}", steps, leave=False, disable=None, unit="batch") as bar:
        for step, batch in enumerate(bar):
            learning_rate = schedule(len(epochs) * steps + step)
            with np.errstate(over="ignore", invalid="ignore"):  # said below, in words
                loss = classifier.train_batch(batch.images, batch.labels, learning_rate)
            if not math.isfinite(loss):
                raise _divergence(loss, number, f"step {step + 1} of {steps}", learning_rate)
            bar.set_postfix_str(f"loss {loss:.4f}{known}", refresh=False)
    return float(f"{learning_rate:.6g}")


def _divergence(loss: float, epoch: int, where: str, learning_rate: float) -> PipelineError:
    return PipelineError(
        f"the loss is {loss} in epoch {epoch} at {where}, with learning rate {learning_rate:.3g}: training diverged "
        "and no model was saved; lower learning_rate, or use the schedule one_cycle, which warms up"
    )


def _measure(classifier: Classifier, split: Split) -> tuple[float, float]:
    """Loss and accuracy, rounded to what history.csv shows."""
    with np.errstate(over="ignore", invalid="ignore"):
        probabilities = predict_in_batches(classifier, split.images)
    return round(cross_entropy(probabilities, split.labels), 6), round(accuracy(probabilities, split.labels), 6)


def _evenly_spaced(split: Split, size: int) -> Split:
    """About ``size`` digits of the split, at equal distances; all of a smaller one."""
    distance = max(len(split.labels) // size, 1)
    return Split(split.images[::distance][:size], split.labels[::distance][:size])


def _line(epoch: Epoch, epochs: int) -> str:
    return (
        f"epoch {epoch.epoch}/{epochs}: train loss {epoch.train_loss:.4f} accuracy {epoch.train_accuracy:.2%}, "
        f"validation loss {epoch.validation_loss:.4f} accuracy {epoch.validation_accuracy:.2%}"
    )
