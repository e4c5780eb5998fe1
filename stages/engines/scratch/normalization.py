"""Batch normalisation, which keeps every channel's values at a spread that its parameters choose."""

import numpy as np

from stages.engines.scratch.layers import Array, Layer


class BatchNorm(Layer):
    """y = γ x̂ + β with x̂ = (x − μ) / √(σ² + ε), for each channel by itself (Ioffe & Szegedy 2015, algorithm 1).

    Inputs are (N, channels) or (N, channels, height, width), PyTorch's BatchNorm1d and BatchNorm2d. While training, μ
    and σ² are those of the batch; in use they are running averages, of which the variance is unbiased, as in PyTorch.
    """

    momentum, epsilon = 0.1, 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.channels,), "bias": (self.channels,)}

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"running_mean": (self.channels,), "running_var": (self.channels,)}

    def reset(self) -> None:
        self.parameters["weight"][...] = 1
        self.buffers["running_var"][...] = 1

    def forward(self, inputs: Array) -> Array:
        """Raises ValueError while training on one value a channel, whose spread is unknown."""
        self._axes = (0, *range(2, inputs.ndim))  # all but the channels
        if self.training:
            self._count, total = self.piece.total(inputs.size // self.channels, inputs.sum(axis=self._axes))
            if self._count == 1:
                raise ValueError("batch normalisation needs more than one value a channel to learn from")
            mean = total / self._count
            centred = inputs - self._broadcast(mean)
            (squares,) = self.piece.total(np.sum(centred * centred, axis=self._axes))
            variance = squares / self._count
            if self.piece.index == 0:  # the pieces share the running averages
                self._update_running("running_mean", mean)
                self._update_running("running_var", squares / (self._count - 1))
        else:
            variance = self.buffers["running_var"]
            centred = inputs - self._broadcast(self.buffers["running_mean"])
        self._inverse = 1 / np.sqrt(variance + self.epsilon)
        centred *= self._broadcast(self._inverse)
        self._normalised = centred
        outputs = self._normalised * self._broadcast(self.parameters["weight"])
        outputs += self._broadcast(self.parameters["bias"])
        return outputs

    def _update_running(self, name: str, value: Array) -> None:
        running = self.buffers[name]
        running *= 1 - self.momentum
        running += self.momentum * value

    def _broadcast(self, channels: Array) -> Array:
        """One number a channel, in the shape that meets the inputs."""
        return channels.reshape(-1, *(1,) * (len(self._axes) - 1))

    def backward_parameters(self, grad_output: Array) -> None:
        """∂L/∂γ = Σ G x̂ and ∂L/∂β = Σ G, over all values of a channel, with G = ``grad_output``."""
        np.sum(grad_output * self._normalised, axis=self._axes, out=self.gradients["weight"])
        np.sum(grad_output, axis=self._axes, out=self.gradients["bias"])

    def backward_input(self, grad_output: Array) -> Array:
        """∂L/∂x = γ / √(σ² + ε) · (G − mean(G) − x̂ mean(G x̂)): μ and σ² move with every x of the batch.

        In use they are constants, and the two means fall away. Both sums stand in ``gradients``, for this piece.
        """
        gradient = grad_output.copy(order="K")
        if self.training:
            grad_bias, grad_weight = self.piece.total(self.gradients["bias"], self.gradients["weight"])
            gradient -= self._broadcast(grad_bias / self._count)
            gradient -= self._normalised * self._broadcast(grad_weight / self._count)
        gradient *= self._broadcast(self.parameters["weight"] * self._inverse)
        return gradient
