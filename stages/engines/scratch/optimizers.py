"""Optimizers over one flat vector of parameters θ and one of gradients g, with PyTorch's conventions and constants.

A step reads and writes every element several times, so it goes through the vectors in blocks that stay in the
processor's cache; each formula below is one block's.
"""

import math
from collections.abc import Callable

import numpy as np

from stages.engines.scratch.layers import Array

BLOCK = 64 * 1024  # elements


class Optimizer:
    """A rule that turns gradients into a change of the parameters.

    ``weight_decay`` λ adds λθ to the gradient (AdamW apart), which is the gradient of a penalty of λ‖θ‖²/2.
    """

    def __init__(self, parameters: Array, gradients: Array, weight_decay: float = 0.0) -> None:
        self.parameters, self.gradients, self.weight_decay = parameters, gradients, weight_decay
        self.steps = 0
        self._blocks = [slice(start, start + BLOCK) for start in range(0, len(parameters), BLOCK)]
        self._penalised, self._work = np.empty((2, min(BLOCK, len(parameters))), parameters.dtype)

    def step(self, learning_rate: float) -> None:
        """Change the parameters in place; the gradients are left as they are."""
        self.steps += 1
        for block in self._blocks:
            self._update(block, self.parameters[block], self._gradient(block), learning_rate)

    def state(self) -> dict[str, Array]:
        """What the optimizer remembers from step to step, as views."""
        return {}

    def _gradient(self, block: slice) -> Array:
        """g + λθ of one block."""
        gradient = self.gradients[block]
        if not self.weight_decay:
            return gradient
        penalised = self._penalised[: len(gradient)]
        np.multiply(self.parameters[block], self.weight_decay, out=penalised)
        penalised += gradient
        return penalised

    def _update(self, block: slice, parameters: Array, gradient: Array, learning_rate: float) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """Mini-batch gradient descent, with a velocity v ← μv + g when momentum μ > 0.

    θ ← θ − η g without momentum, θ ← θ − η v with it (Polyak 1964), θ ← θ − η (g + μv) with ``nesterov``
    (Sutskever et al. 2013, in the form that PyTorch uses).
    """

    def __init__(
        self,
        parameters: Array,
        gradients: Array,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, gradients, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov
        self._velocity = np.zeros_like(parameters) if momentum else np.zeros(0, parameters.dtype)

    def state(self) -> dict[str, Array]:
        return {"velocity": self._velocity}

    def _update(self, block: slice, parameters: Array, gradient: Array, learning_rate: float) -> None:
        change = self._work[: len(gradient)]
        if not self.momentum:
            np.multiply(gradient, learning_rate, out=change)
        else:
            velocity = self._velocity[block]
            velocity *= self.momentum
            velocity += gradient
            if self.nesterov:
                np.multiply(velocity, self.momentum, out=change)
                change += gradient
                change *= learning_rate
            else:
                np.multiply(velocity, learning_rate, out=change)
        parameters -= change


class RMSprop(Optimizer):
    """θ ← θ − η g / (√v + ε) with v ← αv + (1 − α) g², a moving average of the squared gradient (Hinton 2012)."""

    alpha, epsilon = 0.99, 1e-8

    def __init__(self, parameters: Array, gradients: Array, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, gradients, weight_decay)
        self._square = np.zeros_like(parameters)

    def state(self) -> dict[str, Array]:
        return {"square": self._square}

    def _update(self, block: slice, parameters: Array, gradient: Array, learning_rate: float) -> None:
        square, work = self._square[block], self._work[: len(gradient)]
        square *= self.alpha
        np.multiply(gradient, gradient, out=work)
        work *= 1 - self.alpha
        square += work
        np.sqrt(square, out=work)
        work += self.epsilon
        np.divide(gradient, work, out=work)
        work *= learning_rate
        parameters -= work


class Adam(Optimizer):
    """θ ← θ − η m̂ / (√v̂ + ε) (Kingma & Ba 2015, algorithm 1).

    m ← β₁m + (1 − β₁) g and v ← β₂v + (1 − β₂) g² are moving averages that start at 0; m̂ = m / (1 − β₁ᵗ) and
    v̂ = v / (1 − β₂ᵗ) undo that bias. Here the vectors hold m / (1 − β₁) and v / (1 − β₂), and all constant factors are
    gathered into one number of the step and one for ε: two passes over memory fewer.
    """

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def __init__(self, parameters: Array, gradients: Array, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, gradients, weight_decay)
        self._mean, self._square = np.zeros_like(parameters), np.zeros_like(parameters)

    def state(self) -> dict[str, Array]:
        return {"mean": self._mean, "square": self._square}

    def _update(self, block: slice, parameters: Array, gradient: Array, learning_rate: float) -> None:
        scale_mean = (1 - self.beta1) / (1 - self.beta1**self.steps)
        scale_root = math.sqrt((1 - self.beta2) / (1 - self.beta2**self.steps))
        mean, square, work = self._mean[block], self._square[block], self._work[: len(gradient)]
        mean *= self.beta1
        mean += gradient
        np.multiply(gradient, gradient, out=work)
        square *= self.beta2
        square += work
        np.sqrt(square, out=work)
        work += self.epsilon / scale_root
        np.divide(mean, work, out=work)
        work *= learning_rate * scale_mean / scale_root
        parameters -= work


class AdamW(Adam):
    """Adam with decoupled decay: θ ← (1 − ηλ) θ before each step of Adam (Loshchilov & Hutter 2019, algorithm 2)."""

    def _gradient(self, block: slice) -> Array:
        return self.gradients[block]

    def _update(self, block: slice, parameters: Array, gradient: Array, learning_rate: float) -> None:
        parameters *= 1 - learning_rate * self.weight_decay
        super()._update(block, parameters, gradient, learning_rate)


class MovingAverage:
    """θ̄ ← δ θ̄ + (1 − δ) θ after every step, from θ̄ = θ after the first one (Polyak & Juditsky 1992, with decay δ)."""

    def __init__(self, values: Array, average: Array, decay: float) -> None:
        self.values, self.average, self.decay = values, average, decay

    def update(self, steps: int) -> None:
        """Take the values after step number ``steps`` into the average."""
        if steps == 1:
            self.average[...] = self.values
        else:
            self.average += (1 - self.decay) * (self.values - self.average)


def clip_gradients(gradients: Array, max_norm: float) -> None:
    """Shorten the whole gradient to ``max_norm`` where it is longer (Pascanu et al. 2013), as PyTorch does."""
    factor = max_norm / (float(np.linalg.norm(gradients)) + 1e-6)
    if factor < 1:
        gradients *= factor


def make_optimizer(
    name: str, parameters: Array, gradients: Array, momentum: float = 0.9, weight_decay: float = 0.0
) -> Optimizer:
    """Return the optimizer that params.yaml calls ``name``. Raises KeyError for a name that it does not know."""
    makers: dict[str, Callable[[], Optimizer]] = {
        "sgd": lambda: SGD(parameters, gradients, weight_decay=weight_decay),
        "momentum": lambda: SGD(parameters, gradients, momentum, weight_decay=weight_decay),
        "nesterov": lambda: SGD(parameters, gradients, momentum, nesterov=True, weight_decay=weight_decay),
        "rmsprop": lambda: RMSprop(parameters, gradients, weight_decay),
        "adam": lambda: Adam(parameters, gradients, weight_decay),
        "adamw": lambda: AdamW(parameters, gradients, weight_decay),
    }
    return makers[name]()
