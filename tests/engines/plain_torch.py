"""The networks and their training written out in plain PyTorch, by which both engines are judged.

Nothing here is the project's: two engines that share a mistake agree with each other, and not with this.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "nesterov": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
Dropout = Callable[[Tensor], Tensor]


class Lambda(nn.Module):
    """A function as a layer without parameters, which may be the identity at inference."""

    def __init__(self, function: Callable[[Tensor], Tensor], at_inference: bool = False) -> None:
        super().__init__()
        self.function, self.at_inference = function, at_inference

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x) if self.training or self.at_inference else x


def dense(activation: str, norm: bool, dropout: Dropout | None) -> nn.Sequential:
    """784-6-5-10."""
    layers: list[nn.Module | None] = [
        nn.Flatten(),
        nn.Linear(784, 6, bias=not norm),
        nn.BatchNorm1d(6) if norm else None,
        ACTIVATIONS[activation](),
        Lambda(dropout) if dropout else None,
        nn.Linear(6, 5, bias=not norm),
        nn.BatchNorm1d(5) if norm else None,
        ACTIVATIONS[activation](),
        Lambda(dropout) if dropout else None,
        nn.Linear(5, 10),
    ]
    return nn.Sequential(*(layer for layer in layers if layer)).double()


def convolutional(activation: str, norm: bool, dropout: Dropout | None) -> nn.Sequential:
    """Two blocks of 5x5 convolution and 2x2 pooling, 28 -> 24 -> 12 -> 8 -> 4 pixels wide; no dropout in them."""
    layers: list[nn.Module | None] = [
        nn.Conv2d(1, 2, 5, bias=not norm),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(2) if norm else None,
        ACTIVATIONS[activation](),
        nn.Conv2d(2, 3, 5, bias=not norm),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(3) if norm else None,
        ACTIVATIONS[activation](),
        nn.Flatten(),
        nn.Linear(48, 5, bias=not norm),
        nn.BatchNorm1d(5) if norm else None,
        ACTIVATIONS[activation](),
        Lambda(dropout) if dropout else None,
        nn.Linear(5, 10),
    ]
    return nn.Sequential(*(layer for layer in layers if layer)).double()


def deep(activation: str, norm: bool, dropout: Dropout | None) -> nn.Sequential:
    """Three blocks of two padded 3x3 convolutions, 28 -> 14 -> 7 -> 3 pixels wide, and each map's mean."""
    layers: list[nn.Module | None] = []
    for inputs, outputs in ((1, 2), (2, 3), (3, 4)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=not norm),
            nn.BatchNorm2d(outputs) if norm else None,
            ACTIVATIONS[activation](),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=not norm),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(outputs) if norm else None,
            ACTIVATIONS[activation](),
        ]
    layers += [
        Lambda(lambda x: x.mean(dim=(2, 3), keepdim=True), at_inference=True),
        nn.Flatten(),
        nn.Linear(4, 5, bias=not norm),
        nn.BatchNorm1d(5) if norm else None,
        ACTIVATIONS[activation](),
        Lambda(dropout) if dropout else None,
        nn.Linear(5, 10),
    ]
    return nn.Sequential(*(layer for layer in layers if layer)).double()


class PlainTraining:
    """One network with its optimizer; every other option is done by hand."""

    def __init__(self, network: nn.Sequential, weights: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> None:
        self.network, self.options = network, options
        for name, array in weights.items():
            network.state_dict()[name].copy_(torch.from_numpy(array))
        name, momentum = options.get("name", "sgd"), options.get("momentum", 0.9)
        own = {"momentum": {"momentum": momentum}, "nesterov": {"momentum": momentum, "nesterov": momentum > 0}}
        self.optimizer = OPTIMIZERS[name](
            network.parameters(), weight_decay=options.get("weight_decay", 0.0), **own.get(name, {})
        )
        self.average = {name: tensor.clone() for name, tensor in self.state().items()}
        self.updates = 0

    def state(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.network.state_dict().items() if tensor.is_floating_point()}

    def train_batch(self, images: NDArray[np.float64], labels: NDArray[np.int64], learning_rate: float) -> float:
        smoothing, max_norm = self.options.get("label_smoothing", 0.0), self.options.get("max_grad_norm", 0.0)
        targets = torch.full((len(labels), 10), smoothing / 10, dtype=torch.float64)
        targets[np.arange(len(labels)), labels] += 1 - smoothing
        logits = self.network.train()(torch.from_numpy(images)[:, None])
        loss = -(targets * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
        self.network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        if 0 < max_norm < norm:
            for gradient in gradients:
                gradient *= max_norm / (norm + 1e-6)
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.optimizer.step()
        self._take_average()
        return loss.item()

    def _take_average(self) -> None:
        """The first weights as they are; then the decay warms up."""
        decay = min(self.options.get("ema_decay", 0.0), (1 + self.updates) / (10 + self.updates)) if self.updates else 0
        self.updates += 1
        for name, tensor in self.state().items():
            self.average[name] = decay * self.average[name] + (1 - decay) * tensor

    def predict(self, images: NDArray[np.float64]) -> NDArray[np.float64]:
        """With the averaged weights."""
        own = {name: tensor.clone() for name, tensor in self.state().items()}
        for name, tensor in self.state().items():
            tensor.copy_(self.average[name])
        with torch.no_grad():
            logits = self.network.eval()(torch.from_numpy(images)[:, None])
        for name, tensor in self.state().items():
            tensor.copy_(own[name])
        probabilities: NDArray[np.float64] = torch.softmax(logits, dim=1).numpy()
        return probabilities
