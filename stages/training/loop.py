"""The training loop: the same for both engines, so that they differ in nothing but the network's arithmetic."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from stages.engines.config import EngineConfig, TrainingConfig
from stages.pipeline.classifier import Classifier, predict_in_batches
from stages.pipeline.errors import PipelineError
from stages.pipeline.history import EpochMetrics, best_epoch, write_history
from stages.pipeline.metrics import accuracy, cross_entropy
from stages.pipeline.rng import Generators
from stages.pipeline.splits import Split
from stages.training.augmentation import Augmentation
from stages.training.batches import shuffled_batches, steps_per_epoch
from stages.training.checkpoint import Checkpoint, Progress
from stages.training.messages import divergence, format_epoch, format_start
from stages.training.schedules import Schedule, make_schedule


class Outcome(NamedTuple):
    """Which epoch was kept, and how long training took, resumed parts included."""

    kept: EpochMetrics
    epochs: int
    seconds: float  # the whole loop, evaluation after each epoch included
    throughput: float  # training images per second, evaluation excluded


def train(
    classifier: Classifier,
    training: Split,
    validation: Split,
    config: EngineConfig,
    generators: Generators,
    history: Path,
    checkpoint: Checkpoint,
) -> Outcome:
    """Train for ``config.training.epochs``, or until early stopping; leave the best epoch's weights in the classifier.

    An interrupted training continues after its last finished epoch. ``train_loss`` and ``train_accuracy`` are measured
    in eval mode like those of the validation split, on as many undistorted training images. ``history`` and
    ``checkpoint`` are rewritten after every epoch. Raises PipelineError when a loss is not finite, or a file cannot be
    written.
    """
    progress = checkpoint.load(classifier)
    epochs = progress.epochs
    if epochs:
        print(f"resuming after epoch {len(epochs)}/{config.training.epochs}, from {checkpoint.path}", flush=True)
        write_history(history, epochs)  # DVC has removed it, or the file is another run's by now
    print(format_start(len(training.labels), len(validation.labels)), flush=True)
    for epoch in train_epochs(classifier, training, validation, config, generators, progress):
        write_history(history, epochs)
        checkpoint.save(classifier, progress)
        print(format_epoch(epoch, config.training.epochs), flush=True)
    if len(epochs) < config.training.epochs:
        patience, best = config.training.patience, best_epoch(epochs).epoch
        print(f"early stopping: no epoch was better than epoch {best} for {patience} epochs", flush=True)
    classifier.load_state_dict(progress.best_state)
    throughput = len(epochs) * len(training.labels) / progress.training_seconds
    return Outcome(best_epoch(epochs), len(epochs), progress.seconds, throughput)


def train_epochs(
    classifier: Classifier,
    training: Split,
    validation: Split,
    config: EngineConfig,
    generators: Generators,
    progress: Progress,
) -> Iterator[EpochMetrics]:
    """Train the epochs that ``progress`` lacks, and yield each one's metrics once they and its weights are in there."""
    _check_batch_norm(training, config)
    epochs = progress.epochs
    steps = steps_per_epoch(training, config.training.batch_size)
    schedule = make_schedule(config, steps)
    augment = Augmentation(config.augmentation, float(training.images.min())) if config.augmentation.enabled else None
    sample = _subsample(training, len(validation.labels))
    while not is_finished(epochs, config.training):
        started = time.perf_counter()
        batches = shuffled_batches(training, config.training.batch_size, generators.shuffling)
        if augment and len(epochs) < config.training.epochs - config.augmentation.no_aug_epochs:
            batches = (Split(augment(batch.images, generators.augmentation), batch.labels) for batch in batches)
        rate = _train_epoch(classifier, batches, config, schedule, epochs, steps)
        progress.training_seconds += time.perf_counter() - started
        epoch = EpochMetrics(len(epochs) + 1, rate, *_evaluate(classifier, sample), *_evaluate(classifier, validation))
        if not math.isfinite(loss := epoch.train_loss + epoch.validation_loss):
            raise divergence(loss, epoch.epoch, "its end", rate, config.optimizer.schedule)
        epochs.append(epoch)
        if epoch is best_epoch(epochs):
            progress.best_state = classifier.state_dict()
        progress.seconds += time.perf_counter() - started
        yield epoch


def is_finished(epochs: Sequence[EpochMetrics], config: TrainingConfig) -> bool:
    """Whether there are as many epochs as the config says, or none was better for as long as its patience lasts."""
    stops_early = bool(epochs) and 0 < config.patience <= len(epochs) - best_epoch(epochs).epoch
    return len(epochs) >= config.epochs or stops_early


def _check_batch_norm(training: Split, config: EngineConfig) -> None:
    """A hidden layer's unit and a map of 1x1 have one value per image, so a batch of one image has no variance."""
    batch_size, count, network = config.training.batch_size, len(training.labels), config.network
    has_single_values = bool(network.hidden_sizes) or 1 in network.sides()
    if network.batch_norm and has_single_values and 1 in (batch_size, count % batch_size):
        raise PipelineError(
            f"batch_norm cannot train on a batch of one image, and with batch_size {batch_size}, the last of {count} "
            "images is a batch of its own: choose another batch_size"
        )


def _train_epoch(
    classifier: Classifier,
    batches: Iterable[Split],
    config: EngineConfig,
    schedule: Schedule,
    epochs: Sequence[EpochMetrics],
    steps: int,
) -> float:
    """Train on one epoch's batches, after those ``epochs``. Returns the last learning rate, to six digits."""
    number, learning_rate = len(epochs) + 1, math.nan
    known = f", validation accuracy {epochs[-1].validation_accuracy:.2%}" if epochs else ""
    title = f"epoch {number}/{config.training.epochs}"
    with tqdm(batches, title, steps, leave=False, disable=None, unit="batch") as bar:
        for step, batch in enumerate(bar):
            learning_rate = schedule(len(epochs) * steps + step)
            with np.errstate(over="ignore", invalid="ignore"):  # reported below, in words
                loss = classifier.train_batch(batch.images, batch.labels, learning_rate)
            if not math.isfinite(loss):
                raise divergence(loss, number, f"step {step + 1} of {steps}", learning_rate, config.optimizer.schedule)
            bar.set_postfix_str(f"loss {loss:.4f}{known}", refresh=False)
    return float(f"{learning_rate:.6g}")


def _evaluate(classifier: Classifier, split: Split) -> tuple[float, float]:
    """Loss and accuracy, rounded to what history.csv shows."""
    with np.errstate(over="ignore", invalid="ignore"):
        probabilities = predict_in_batches(classifier, split.images)
    return round(cross_entropy(probabilities, split.labels), 6), round(accuracy(probabilities, split.labels), 6)


def _subsample(split: Split, size: int) -> Split:
    """``size`` examples, evenly spaced over the split; all of a smaller one."""
    count = min(size, len(split.labels))
    indices = np.arange(count) * len(split.labels) // count
    return Split(split.images[indices], split.labels[indices])
