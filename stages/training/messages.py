"""What training says: before it starts, after each epoch, when it fails, and when nothing was learned."""

import math
from collections.abc import Iterator

import numpy as np

from stages.engines.config import NetworkConfig, ScheduleName
from stages.pipeline.classifier import Labels
from stages.pipeline.errors import PipelineError
from stages.pipeline.history import EpochMetrics


def format_start(training: int, validation: int) -> str:
    """The numbers of images that are trained on and measured."""
    return (
        f"training on {training:,} images, validating on {validation:,}; "
        f"train loss and accuracy are measured on {min(training, validation):,} of the training images"
    )


def format_epoch(epoch: EpochMetrics, epochs: int) -> str:
    """One epoch's metrics."""
    return (
        f"epoch {epoch.epoch}/{epochs}: train loss {epoch.train_loss:.4f} accuracy {epoch.train_accuracy:.2%}, "
        f"validation loss {epoch.validation_loss:.4f} accuracy {epoch.validation_accuracy:.2%}"
    )


def divergence(loss: float, epoch: int, where: str, learning_rate: float, schedule: ScheduleName) -> PipelineError:
    """The error of a loss that is not finite."""
    warmup = "raise warmup_fraction" if schedule == "one_cycle" else "use the schedule one_cycle, which warms up"
    return PipelineError(
        f"the loss is {loss} in epoch {epoch} at {where}, with learning rate {learning_rate:.3g}: training diverged "
        f"and no new model was saved; lower learning_rate, or {warmup}"
    )


def options_without_effect(network: NetworkConfig) -> Iterator[str]:
    """What the config asks for, but no layer of the network has."""
    if network.dropout and not network.hidden_sizes:
        yield f"network.dropout {network.dropout} has no effect, because there is no hidden layer"
    if network.global_avg_pool and not network.channels:
        yield "network.global_avg_pool has no effect, because there is no convolution"
    if network.batch_norm and not (network.hidden_sizes or network.channels):
        yield "network.batch_norm has no effect, because there is neither a hidden layer nor a convolution"


def chance_warning(accuracy: float, labels: Labels) -> str:
    """Why a validation accuracy is no better than chance, and what usually helps; nothing if it is better.

    Better is what exceeds the fraction of the most frequent class by more than two standard errors, or is 1.
    """
    chance = float(np.bincount(labels).max() / len(labels))
    if accuracy > min(chance + 2 * math.sqrt(chance * (1 - chance) / len(labels)), math.nextafter(1, 0)):
        return ""
    return (
        f"the best validation accuracy, {accuracy:.2%}, is no better than chance: always answering the most frequent "
        f"class gives {chance:.2%}. The network seems to have learned nothing. What usually helps: another "
        "learning_rate, fewer layers, batch_norm, or the activation relu, because the gradients of sigmoid and tanh "
        "vanish in deep networks"
    )
