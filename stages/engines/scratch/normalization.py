"""Batch normalization, which standardizes every channel and gives it a trainable scale and shift."""

import numpy as np

from stages.engines.scratch.layers import Array, Module


class _BatchNorm(Module):
    """y = γ x̂ + β with x̂ = (x − μ) / √(σ² + ε), per channel (Ioffe & Szegedy 2015, algorithm 1).

    In training, μ and σ² are those of the batch, over all its shards; at inference they are running averages, of the
    unbiased variance as in PyTorch, with running ← (1 − momentum) running + momentum · batch.
    """

    _ndims: tuple[int, ...]

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.num_features,), "bias": (self.num_features,)}

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"running_mean": (self.num_features,), "running_var": (self.num_features,)}

    def reset_parameters(self) -> None:
        self.parameters["weight"][...] = 1
        self.buffers["running_var"][...] = 1

    def forward(self, x: Array) -> Array:
        """Raises ValueError for other dimensions than the layer's and, in training, for one value per channel."""
        if x.ndim not in self._ndims:
            expected = " or ".join(f"{ndim}D" for ndim in self._ndims)
            raise ValueError(f"expected {expected} input (got {x.ndim}D input)")
        self._axes = (0, *range(2, x.ndim))  # all but the channels
        if self.training:
            self._count, total = self.shard.all_reduce(x.size // self.num_features, x.sum(axis=self._axes))
            if self._count == 1:
                raise ValueError("batch normalization needs more than 1 value per channel in training")
            mean = total / self._count
            centered = x - self._broadcast(mean)
            (squares,) = self.shard.all_reduce(np.sum(centered * centered, axis=self._axes))
            var = squares / self._count
            if self.shard.rank == 0:  # the replicas' buffers are the same arrays
                self._update_running("running_mean", mean)
                self._update_running("running_var", squares / (self._count - 1))
        else:
            var = self.buffers["running_var"]
            centered = x - self._broadcast(self.buffers["running_mean"])
        self._inv_std = 1 / np.sqrt(var + self.eps)
        centered *= self._broadcast(self._inv_std)
        self._x_hat = centered
        outputs = self._x_hat * self._broadcast(self.parameters["weight"])
        outputs += self._broadcast(self.parameters["bias"])
        return outputs

    def _update_running(self, name: str, value: Array) -> None:
        running = self.buffers[name]
        running *= 1 - self.momentum
        running += self.momentum * value

    def _broadcast(self, channels: Array) -> Array:
        """Reshape (channels,) so that it broadcasts against the input."""
        return channels.reshape(-1, *(1,) * (len(self._axes) - 1))

    def backward_parameters(self, grad_output: Array) -> None:
        """∂L/∂γ = Σ G x̂ and ∂L/∂β = Σ G, over all values of a channel, with G = ``grad_output``."""
        np.sum(grad_output * self._x_hat, axis=self._axes, out=self.gradients["weight"])
        np.sum(grad_output, axis=self._axes, out=self.gradients["bias"])

    def backward_input(self, grad_output: Array) -> Array:
        """∂L/∂x = γ / √(σ² + ε) · (G − mean(G) − x̂ mean(G x̂)), because μ and σ² depend on every x of the batch.

        At inference they are constants, and both means vanish. This shard's two sums are already in ``gradients``.
        """
        gradient = grad_output.copy(order="K")
        if self.training:
            grad_bias, grad_weight = self.shard.all_reduce(self.gradients["bias"], self.gradients["weight"])
            gradient -= self._broadcast(grad_bias / self._count)
            gradient -= self._x_hat * self._broadcast(grad_weight / self._count)
        gradient *= self._broadcast(self.parameters["weight"] * self._inv_std)
        return gradient


class BatchNorm1d(_BatchNorm):
    """Batch normalization of vectors (N, num_features) or sequences (N, num_features, length)."""

    _ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of images or feature maps (N, num_features, height, width)."""

    _ndims = (4,)
