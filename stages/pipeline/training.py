"""The training loop: the same for both engines, so that they differ in nothing but the network's arithmetic."""

import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from stages.pipeline.classifier import Classifier, predict_in_batches
from stages.pipeline.dataset import Split, shuffled_batches
from stages.pipeline.files import write_csv
from stages.pipeline.params import TrainingParameters
from stages.pipeline.schedules import Schedule, make_schedule
from stages.pipeline.stage import PipelineError
from stages.pipeline.statistics import accuracy, cross_entropy


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
    shuffling: np.random.Generator,
    history: Path,
) -> Timing:
    """Train for ``parameters.epochs`` and leave the classifier with the weights of its best epoch.

    The best epoch has the highest validation accuracy; between equals, the lower validation loss. ``train_loss`` and
    ``train_accuracy`` are measured as those of the validation split are, on as many training digits.
    ``history`` is rewritten after every epoch. Raises PipelineError when a loss is not finite.
    """
    schedule = make_schedule(parameters, _steps(training, parameters))
    sample = _evenly_spaced(training, len(validation.labels))
    epoch = Epoch(0, math.nan, *_measure(classifier, sample), *_measure(classifier, validation))
    epochs: list[Epoch] = []
    learning_seconds = 0.0
    started = time.perf_counter()
    for _ in range(parameters.epochs):
        epoch_started = time.perf_counter()
        rate = _learn(classifier, training, parameters, shuffling, schedule, epoch)
        learning_seconds += time.perf_counter() - epoch_started
        epoch = Epoch(epoch.epoch + 1, rate, *_measure(classifier, sample), *_measure(classifier, validation))
        if not math.isfinite(epoch.validation_loss):
            raise _divergence(epoch.validation_loss, epoch.epoch, "its end", rate)
        epochs.append(epoch)
        print(_line(epoch, parameters.epochs), flush=True)
        write_csv(history, Epoch._fields, epochs)
        if epoch is max(epochs, key=lambda each: (each.validation_accuracy, -each.validation_loss)):
            best_state = classifier.state_dict()
    classifier.load_state_dict(best_state)
    learnt = parameters.epochs * len(training.labels)
    return Timing(round(time.perf_counter() - started, 2), round(learnt / learning_seconds))


def _steps(training: Split, parameters: TrainingParameters) -> int:
    """Batches in an epoch, the last one perhaps smaller."""
    return math.ceil(len(training.labels) / parameters.batch_size)


def _learn(
    classifier: Classifier,
    training: Split,
    parameters: TrainingParameters,
    shuffling: np.random.Generator,
    schedule: Schedule,
    previous: Epoch,
) -> float:
    """Go through the training split once. Returns the last learning rate, to six digits."""
    number, steps = previous.epoch + 1, _steps(training, parameters)
    learning_rate = math.nan
    batches = shuffled_batches(training, parameters.batch_size, shuffling)
    with tqdm(batches, f"epoch {number}/{parameters.epochs}", steps, leave=False, disable=None, unit="batch") as bar:
        for step, batch in enumerate(bar):
            learning_rate = schedule(previous.epoch * steps + step)
            with np.errstate(over="ignore", invalid="ignore"):  # said below, in words
                loss = classifier.train_batch(batch.images, batch.labels, learning_rate)
            if not math.isfinite(loss):
                raise _divergence(loss, number, f"step {step + 1} of {steps}", learning_rate)
            bar.set_postfix_str(
                f"loss {loss:.4f}, validation accuracy {previous.validation_accuracy:.2%}", refresh=False
            )
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
