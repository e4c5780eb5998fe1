"""The PyTorch classifier, written as PyTorch is usually written."""

import io
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

PIXELS, CLASSES = 28 * 28, 10

INITIALIZERS: dict[str, Callable[..., torch.Tensor]] = {
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "he_uniform": lambda weight, generator: nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=generator),
    "he_normal": lambda weight, generator: nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator),
}


def dense_network(sizes: Sequence[int]) -> nn.Sequential:
    """A dense network: ``sizes`` are inputs, hidden units and outputs; ReLU after all but the last."""
    layers: list[nn.Module] = [nn.Flatten()]
    for in_features, out_features in pairwise(sizes):
        layers += [nn.Linear(in_features, out_features), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def make_optimizer(
    name: str, parameters: list[nn.Parameter], momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return the optimizer that params.yaml calls ``name``, fused into one pass where PyTorch has that."""
    match name:
        case "sgd":
            return torch.optim.SGD(parameters, weight_decay=weight_decay, fused=True)
        case "momentum" | "nesterov":
            nesterov = name == "nesterov" and momentum > 0
            return torch.optim.SGD(
                parameters, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True
            )
        case "rmsprop":
            return torch.optim.RMSprop(parameters, weight_decay=weight_decay)
        case "adam":
            return torch.optim.Adam(parameters, weight_decay=weight_decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(parameters, weight_decay=weight_decay, fused=True)
        case _:
            raise KeyError(name)


class TorchClassifier:
    """A dense network of ``hidden`` ReLU layers between 784 pixels and 10 classes, biases starting at 0.

    Images are (N, 28, 28) and labels (N,), as NumPy arrays; all arithmetic is in ``dtype`` on ``device``.
    """

    def __init__(
        self,
        hidden: Sequence[int],
        generator: np.random.Generator,
        initialization: str = "he_uniform",
        optimizer: str = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        self.hidden = list(hidden)
        self.dtype, self.device = dtype, torch.device(device)
        self.network = dense_network([PIXELS, *hidden, CLASSES])
        torch_generator = torch.Generator().manual_seed(int(generator.integers(2**63)))
        for layer in self.network:
            if isinstance(layer, nn.Linear):
                INITIALIZERS[initialization](layer.weight, generator=torch_generator)
                nn.init.zeros_(layer.bias)
        self.network.to(self.device, dtype)
        self.optimizer = make_optimizer(optimizer, list(self.network.parameters()), momentum, weight_decay)

    def train_batch(self, images: NDArray[np.floating[Any]], labels: NDArray[np.int64], learning_rate: float) -> float:
        """Forward, loss, backward, step. Returns the batch's mean loss before the step."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        logits = self.network(self._tensor(images))
        loss = functional.cross_entropy(logits, torch.from_numpy(labels).to(self.device))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        self.optimizer.step()
        return loss.item()

    def predict(self, images: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the probability of each class, float32 (N, 10)."""
        with torch.inference_mode():
            probabilities = functional.softmax(self.network(self._tensor(images)), dim=1)
        return probabilities.float().cpu().numpy()

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of the weights: ``1.weight`` (out, in), ``1.bias`` (out,), ..."""
        return {name: tensor.cpu().numpy().copy() for name, tensor in self.network.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Take over weights of the same names and shapes. Raises ValueError when they do not fit."""
        try:
            self.network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
        except RuntimeError as error:
            raise ValueError(f"weights do not fit the network: {error}") from None

    def to_bytes(self) -> bytes:
        """Return a saved state_dict; what rebuilds the network stands in its metadata, where torch keeps versions."""
        state: OrderedDict[str, torch.Tensor] = OrderedDict(
            (name, tensor.cpu()) for name, tensor in self.network.state_dict().items()
        )
        state._metadata = {"": {"version": 1, "network": {"hidden": self.hidden}}}  # type: ignore[attr-defined]  # torch's own way
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Rebuild a classifier on the CPU from :meth:`to_bytes`. Raises ValueError when it cannot; runs no code."""
        try:
            with warnings.catch_warnings(action="ignore"):  # of pickles that are no models
                state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            hidden = state._metadata[""]["network"]["hidden"]
            expected = [(units, inputs) for inputs, units in pairwise([PIXELS, *hidden, CLASSES])]
            if [weight.shape for weight in state.values() if weight.ndim == 2] != expected:  # allocate nothing on trust
                raise ValueError(f"weights do not fit the network: hidden layers {hidden} declared")
            classifier = cls(hidden, np.random.default_rng(0))
            classifier.load_state_dict({name: tensor.numpy() for name, tensor in state.items()})
        except pickle.UnpicklingError:  # whose advice is to let the file run its code
            raise ValueError("not a model of this network: holds something other than weights") from None
        except Exception as error:  # damaged bytes can fail anywhere in the reading
            raise ValueError(f"not a model of this network: {str(error)[:200]!r}") from None
        return classifier

    def _tensor(self, images: NDArray[np.floating[Any]]) -> torch.Tensor:
        return torch.from_numpy(images).to(self.device, self.dtype)
