"""The learning rate as a function of the step, shared by both engines."""

import math
from collections.abc import Callable

from stages.pipeline.params import TrainingParameters

Schedule = Callable[[int], float]


def make_schedule(parameters: TrainingParameters, steps_per_epoch: int) -> Schedule:
    """Return the learning rate of each step, counted from 0, as params.yaml describes it."""
    peak, total = parameters.learning_rate, parameters.epochs * steps_per_epoch
    match parameters.schedule:
        case "constant":
            return lambda _: peak
        case "step":
            interval, factor = parameters.step_epochs * steps_per_epoch, parameters.step_factor
            return lambda step: peak * factor ** (step // interval)
        case "cosine":
            return lambda step: peak * cosine(step / total)
        case "one_cycle":
            return one_cycle(peak, total, round(parameters.warmup * total))


def cosine(progress: float) -> float:
    """Half a cosine wave: 1 at progress 0, 0 at progress 1 (Loshchilov & Hutter 2017, SGDR, eq. 5 without restarts)."""
    return (1 + math.cos(math.pi * progress)) / 2


def one_cycle(peak: float, total: int, warmup: int) -> Schedule:
    """Climb in a straight line for ``warmup`` steps, reach ``peak``, then fall along a cosine (after Smith 2018)."""

    def learning_rate(step: int) -> float:
        if step < warmup:
            return peak * (step + 1) / warmup  # step 0 already learns a little
        return peak * cosine((step - warmup) / (total - warmup))

    return learning_rate
