"""Optimizers over one flat vector of parameters θ and one of gradients g, with PyTorch's conventions and defaults.

Each takes these two vectors where torch.optim takes an iterable of tensors. The learning rate η is the attribute
``lr``, which a schedule may set before every step. A step reads and writes every element several times, so it goes
through the vectors in blocks that stay in the processor's cache.
"""

import math
from collections.abc import Callable

import numpy as np

from stages.engines.scratch.layers import Array

BLOCK = 64 * 1024  # elements


class Optimizer:
    """A rule that turns gradients into an update of the parameters.

    ``weight_decay`` λ adds λθ to the gradient (except in AdamW): the gradient of an L2 penalty of λ‖θ‖²/2.
    """

    def __init__(self, parameters: Array, gradients: Array, lr: float, weight_decay: float) -> None:
        self.parameters, self.gradients, self.lr, self.weight_decay = parameters, gradients, lr, weight_decay
        self.steps = 0
        self._blocks = [slice(start, start + BLOCK) for start in range(0, len(parameters), BLOCK)]
        self._decayed, self._work = np.empty((2, min(BLOCK, len(parameters))), parameters.dtype)

    def step(self) -> None:
        """Update the parameters in place; the gradients are left as they are."""
        self.steps += 1
        for block in self._blocks:
            self._update(block, self.parameters[block], self._grad_with_decay(block))

    def state_dict(self) -> dict[str, Array]:
        """What the optimizer carries from step to step besides ``steps``, as views, under torch.optim's names."""
        return {}

    def _grad_with_decay(self, block: slice) -> Array:
        """g + λθ of one block."""
        gradient = self.gradients[block]
        if not self.weight_decay:
            return gradient
        decayed = self._decayed[: len(gradient)]
        np.multiply(self.parameters[block], self.weight_decay, out=decayed)
        decayed += gradient
        return decayed

    def _update(self, block: slice, parameters: Array, gradient: Array) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent, with a velocity v ← μv + g when momentum μ > 0.

    θ ← θ − η g without momentum, θ ← θ − η v with it (Polyak 1964), θ ← θ − η (g + μv) with ``nesterov``
    (Sutskever et al. 2013, in PyTorch's form).
    """

    def __init__(
        self,
        parameters: Array,
        gradients: Array,
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, gradients, lr, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov
        self._velocity = np.zeros_like(parameters) if momentum else np.zeros(0, parameters.dtype)

    def state_dict(self) -> dict[str, Array]:
        return {"momentum_buffer": self._velocity}

    def _update(self, block: slice, parameters: Array, gradient: Array) -> None:
        change = self._work[: len(gradient)]
        if not self.momentum:
            np.multiply(gradient, self.lr, out=change)
        else:
            velocity = self._velocity[block]
            velocity *= self.momentum
            velocity += gradient
            if self.nesterov:
                np.multiply(velocity, self.momentum, out=change)
                change += gradient
                change *= self.lr
            else:
                np.multiply(velocity, self.lr, out=change)
        parameters -= change


class RMSprop(Optimizer):
    """θ ← θ − η g / (√v + ε) with v ← αv + (1 − α) g², a moving average of the squared gradient (Hinton 2012)."""

    def __init__(
        self,
        parameters: Array,
        gradients: Array,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, gradients, lr, weight_decay)
        self.alpha, self.eps = alpha, eps
        self._square_avg = np.zeros_like(parameters)

    def state_dict(self) -> dict[str, Array]:
        return {"square_avg": self._square_avg}

    def _update(self, block: slice, parameters: Array, gradient: Array) -> None:
        square_avg, work = self._square_avg[block], self._work[: len(gradient)]
        square_avg *= self.alpha
        np.multiply(gradient, gradient, out=work)
        work *= 1 - self.alpha
        square_avg += work
        np.sqrt(square_avg, out=work)
        work += self.eps
        np.divide(gradient, work, out=work)
        work *= self.lr
        parameters -= work


class Adam(Optimizer):
    """θ ← θ − η m̂ / (√v̂ + ε) (Kingma & Ba 2015, algorithm 1).

    m ← β₁m + (1 − β₁) g and v ← β₂v + (1 − β₂) g² are moving averages that start at 0; m̂ = m / (1 − β₁ᵗ) and
    v̂ = v / (1 − β₂ᵗ) correct that bias. To save two passes over memory, the vectors ``exp_avg`` and ``exp_avg_sq`` hold
    m / (1 − β₁) and v / (1 − β₂), and all constant factors are folded into one of the step and one of ε.
    """

    def __init__(
        self,
        parameters: Array,
        gradients: Array,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, gradients, lr, weight_decay)
        self.betas, self.eps = betas, eps
        self._exp_avg, self._exp_avg_sq = np.zeros_like(parameters), np.zeros_like(parameters)

    def state_dict(self) -> dict[str, Array]:
        return {"exp_avg": self._exp_avg, "exp_avg_sq": self._exp_avg_sq}

    def _update(self, block: slice, parameters: Array, gradient: Array) -> None:
        beta1, beta2 = self.betas
        scale_avg = (1 - beta1) / (1 - beta1**self.steps)
        scale_root = math.sqrt((1 - beta2) / (1 - beta2**self.steps))
        exp_avg, exp_avg_sq, work = self._exp_avg[block], self._exp_avg_sq[block], self._work[: len(gradient)]
        exp_avg *= beta1
        exp_avg += gradient
        np.multiply(gradient, gradient, out=work)
        exp_avg_sq *= beta2
        exp_avg_sq += work
        np.sqrt(exp_avg_sq, out=work)
        work += self.eps / scale_root
        np.divide(exp_avg, work, out=work)
        work *= self.lr * scale_avg / scale_root
        parameters -= work


class AdamW(Adam):
    """Adam with decoupled decay: θ ← (1 − ηλ) θ before each step of Adam (Loshchilov & Hutter 2019, algorithm 2)."""

    def __init__(
        self,
        parameters: Array,
        gradients: Array,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, gradients, lr, betas, eps, weight_decay)

    def _grad_with_decay(self, block: slice) -> Array:
        return self.gradients[block]

    def _update(self, block: slice, parameters: Array, gradient: Array) -> None:
        parameters *= 1 - self.lr * self.weight_decay
        super()._update(block, parameters, gradient)


class ExponentialMovingAverage:
    """θ̄ ← δₙ θ̄ + (1 − δₙ) θ after every step, with θ̄ = θ after the first one (Polyak & Juditsky 1992).

    After n updates, δₙ = min(δ, (1 + n) / (10 + n)): a warm-up of the decay δ, as in TensorFlow, without which a short
    training's average would remember its first weights.
    """

    def __init__(self, values: Array, average: Array, decay: float) -> None:
        self.values, self.average, self.decay = values, average, decay

    def update(self, steps: int) -> None:
        """Take the values after step number ``steps`` into the average."""
        if steps == 1:
            self.average[...] = self.values
        else:
            decay = min(self.decay, steps / (9 + steps))
            self.average += (1 - decay) * (self.values - self.average)


def clip_grad_norm_(gradients: Array, max_norm: float) -> float:
    """Scale the gradient down in place to ``max_norm`` if its norm is larger (Pascanu et al. 2013); return its norm."""
    norm = float(np.linalg.norm(gradients))
    factor = max_norm / (norm + 1e-6)
    if factor < 1:
        gradients *= factor
    return norm


def make_optimizer(name: str, parameters: Array, gradients: Array, momentum: float, weight_decay: float) -> Optimizer:
    """Return the optimizer that params.yaml calls ``name``. Raises KeyError for an unknown name."""
    makers: dict[str, Callable[[], Optimizer]] = {
        "sgd": lambda: SGD(parameters, gradients, weight_decay=weight_decay),
        "momentum": lambda: SGD(parameters, gradients, momentum=momentum, weight_decay=weight_decay),
        "nesterov": lambda: SGD(parameters, gradients, momentum=momentum, weight_decay=weight_decay, nesterov=True),
        "rmsprop": lambda: RMSprop(parameters, gradients, weight_decay=weight_decay),
        "adam": lambda: Adam(parameters, gradients, weight_decay=weight_decay),
        "adamw": lambda: AdamW(parameters, gradients, weight_decay=weight_decay),
    }
    return makers[name]()
