"""The learning rate as a function of the step, shared by both engines."""

import math
from collections.abc import Callable

from stages.engines.config import EngineConfig

Schedule = Callable[[int], float]


def make_schedule(config: EngineConfig, steps_per_epoch: int) -> Schedule:
    """Return the learning rate of each step, counted from 0, as the config describes it."""
    optimizer = config.optimizer
    maximum, total = optimizer.learning_rate, config.training.epochs * steps_per_epoch
    match optimizer.schedule:
        case "constant":
            return lambda _: maximum
        case "step":
            interval = optimizer.step_size * steps_per_epoch
            return lambda step: maximum * optimizer.gamma ** (step // interval)
        case "cosine":
            return lambda step: maximum * cosine(step / total)
        case "one_cycle":
            return one_cycle(maximum, total, round(optimizer.warmup_fraction * total))


def cosine(progress: float) -> float:
    """Half a cosine wave: 1 at progress 0, 0 at progress 1 (Loshchilov & Hutter 2017, SGDR, eq. 5 without restarts)."""
    return (1 + math.cos(math.pi * progress)) / 2


def one_cycle(maximum: float, total: int, warmup: int) -> Schedule:
    """Linear warmup over ``warmup`` steps to ``maximum``, then cosine annealing to 0 (after Smith 2018)."""

    def learning_rate(step: int) -> float:
        if step < warmup:
            return maximum * (step + 1) / warmup  # step 0 already trains a little
        return maximum * cosine((step - warmup) / (total - warmup))

    return learning_rate
