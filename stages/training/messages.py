"""What training says: before it starts, after each epoch, when it fails, and when nothing was learned."""

import math

import numpy as np

from stages.pipeline.classifier import Labels
from stages.pipeline.errors import PipelineError
from stages.pipeline.history import EpochMetrics


def format_start(training: int, validation: int, sample: int) -> str:
    """The numbers of images that are trained on and measured."""
    measured = "all of these" if sample == training else f"{sample:,} of these"
    return (
        f"training on {training:,} images, validating on {validation:,}; "
        f"train loss and accuracy are measured on {measured}"
    )


def format_epoch(epoch: EpochMetrics, epochs: int) -> str:
    """One epoch's metrics."""
    return (
        f"epoch {epoch.epoch}/{epochs}: train loss {epoch.train_loss:.4f} accuracy {epoch.train_accuracy:.2%}, "
        f"validation loss {epoch.validation_loss:.4f} accuracy {epoch.validation_accuracy:.2%}"
    )


def divergence(loss: float, epoch: int, where: str, learning_rate: float) -> PipelineError:
    """The error of a loss that is not finite."""
    return PipelineError(
        f"the loss is {loss} in epoch {epoch} at {where}, with learning rate {learning_rate:.3g}: training diverged "
        "and no model was saved; lower learning_rate, or use the schedule one_cycle, which warms up"
    )


def chance_warning(accuracy: float, labels: Labels) -> str:
    """Why a validation accuracy is no better than chance, and what usually helps; nothing if it is better.

    Better is what exceeds the fraction of the most frequent class by more than two standard errors.
    """
    chance = float(np.bincount(labels).max() / len(labels))
    if accuracy > chance + 2 * math.sqrt(chance * (1 - chance) / len(labels)):
        return ""
    return (
        f"the best validation accuracy, {accuracy:.2%}, is no better than always answering the most frequent class, "
        f"{chance:.2%}: the network has learned nothing. What usually helps: another learning_rate, fewer layers, "
        "batch_norm, or the activation relu, because the gradients of sigmoid and tanh vanish in deep networks"
    )
