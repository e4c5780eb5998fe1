"""The PyTorch classifier, written as PyTorch is usually written."""

import io
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

SIDE, CLASSES = 28, 10
KERNEL, POOL = 5, 2

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}
INITIALIZERS: dict[str, Callable[..., torch.Tensor]] = {
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "he_uniform": lambda weight, generator: nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=generator),
    "he_normal": lambda weight, generator: nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator),
}


def build_network(
    channels: Sequence[int], hidden: Sequence[int], activation: str, batch_norm: bool, dropout: float
) -> nn.Sequential:
    """The layers between pictures (N, 1, 28, 28) and 10 logits.

    A block of convolution for each of the ``channels``, then a block for each of the ``hidden`` layers, then the
    output. Pooling comes before the activation: a quarter of the work, and without batch normalisation the same result
    when the activation never falls. Batch normalisation has a bias of its own, and takes away any before it.
    """
    layers: list[nn.Module] = []
    side, inputs = SIDE, 1
    for outputs in channels:
        layers += [nn.Conv2d(inputs, outputs, KERNEL, bias=not batch_norm), nn.MaxPool2d(POOL)]
        layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
        layers += [ACTIVATIONS[activation]()]
        side, inputs = (side - KERNEL + 1) // POOL, outputs
    layers += [nn.Flatten()]
    features = inputs * side * side
    for units in hidden:
        layers += [nn.Linear(features, units, bias=not batch_norm)]
        layers += [nn.BatchNorm1d(units)] if batch_norm else []
        layers += [ACTIVATIONS[activation]()]
        layers += [nn.Dropout(dropout)] if dropout > 0 else []
        features = units
    return nn.Sequential(*layers, nn.Linear(features, CLASSES))


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
    """A network between 28 x 28 pixels and 10 classes, with what trains it; biases start at 0.

    Images are (N, 28, 28) and labels (N,), as NumPy arrays; all arithmetic is in ``dtype`` on ``device``. Unknown names
    raise KeyError. What is used and saved are the weights themselves, or with ``ema`` > 0 their moving average.
    """

    def __init__(
        self,
        hidden: Sequence[int],
        generator: np.random.Generator,
        dropout_generator: np.random.Generator | None = None,
        *,
        channels: Sequence[int] = (),
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        initialization: str = "he_uniform",
        label_smoothing: float = 0.0,
        optimizer: str = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        gradient_clip: float = 0.0,
        ema: float = 0.0,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        self.architecture = {
            "channels": list(channels),
            "hidden": list(hidden),
            "activation": activation,
            "batch_norm": batch_norm,
            "dropout": dropout,
        }
        self.dtype, self.device = dtype, torch.device(device)
        self.network = build_network(**self.architecture)  # type: ignore[arg-type]  # a dict of all kinds
        torch_generator = torch.Generator().manual_seed(int(generator.integers(2**63)))
        for layer in self.network:
            if isinstance(layer, nn.Linear | nn.Conv2d):
                INITIALIZERS[initialization](layer.weight, generator=torch_generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.network.to(self.device, dtype)
        if dropout_generator:  # nn.Dropout draws from PyTorch's own generator and takes no other
            torch.manual_seed(int(dropout_generator.integers(2**63)))
        self.label_smoothing, self.gradient_clip = label_smoothing, gradient_clip
        self.optimizer = make_optimizer(optimizer, list(self.network.parameters()), momentum, weight_decay)
        self.average: AveragedModel | None = None
        if ema:
            average_with_decay = get_ema_multi_avg_fn(ema)  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
            self.average = AveragedModel(self.network, multi_avg_fn=average_with_decay, use_buffers=True)

    def train_batch(self, images: NDArray[np.floating[Any]], labels: NDArray[np.int64], learning_rate: float) -> float:
        """Forward, loss, backward, step. Returns the batch's mean loss before the step."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.network.train()
        logits = self.network(self._tensor(images))
        targets = torch.from_numpy(labels).to(self.device)
        loss = functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        if self.gradient_clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_clip)
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.network)
        return loss.item()

    @property
    def used(self) -> nn.Module:
        """The network that predicts and is saved."""
        return self.average.module if self.average else self.network

    def predict(self, images: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the probability of each class, float32 (N, 10)."""
        with torch.inference_mode():
            probabilities = functional.softmax(self.used.eval()(self._tensor(images)), dim=1)
        return probabilities.float().cpu().numpy()

    def parameter_count(self) -> int:
        """How many numbers training moves."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of the weights: ``1.weight`` (out, in), ``1.bias`` (out,), ..."""
        return {name: tensor.cpu().numpy().copy() for name, tensor in _floating(self.used).items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Take over weights of the same names and shapes. Raises ValueError when they do not fit."""
        require_fit(state, self.network)
        for network in (self.network, self.used):
            for name, tensor in _floating(network).items():
                tensor.copy_(torch.from_numpy(state[name]))

    def training_state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of all that training moves, so that it can go on from here: weights, optimizer, generator."""
        return {name: tensor.cpu().numpy().copy() for name, tensor in self._moving().items()} | {
            "generator": torch.get_rng_state().numpy(),
            **({} if self.device.type == "cpu" else {"generator.device": self._backend().get_rng_state().numpy()}),
        }

    def load_training_state(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Go on from a :meth:`training_state` of an equal classifier."""
        for parameter in self.network.parameters():  # the optimizer allocates what it remembers at its first step
            parameter.grad = torch.zeros_like(parameter)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        self.optimizer.step()
        for name, tensor in self._moving().items():
            tensor.copy_(torch.from_numpy(state[name]))
        torch.set_rng_state(torch.from_numpy(state["generator"]))
        if self.device.type != "cpu":
            self._backend().set_rng_state(torch.from_numpy(state["generator.device"]))

    def _backend(self) -> Any:
        """torch.cuda or torch.mps."""
        return torch.get_device_module(self.device)

    def _moving(self) -> dict[str, torch.Tensor]:
        moving = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        if self.average:
            moving |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for index, remembered in self.optimizer.state_dict()["state"].items():
            moving |= {f"optimizer.{index}.{name}": value for name, value in remembered.items() if value is not None}
        return moving

    def to_bytes(self) -> bytes:
        """Return a saved state_dict; what rebuilds the network stands in its metadata, where torch keeps versions."""
        state: OrderedDict[str, torch.Tensor] = OrderedDict(
            (name, tensor.cpu().clone()) for name, tensor in _floating(self.used).items()
        )
        state._metadata = {"": {"version": 1, "network": self.architecture}}  # type: ignore[attr-defined]  # torch's own way
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Rebuild a classifier on the CPU from :meth:`to_bytes`. Raises ValueError when it cannot; runs no code."""
        try:
            with warnings.catch_warnings(action="ignore"):  # of pickles that are no models
                saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            architecture = saved._metadata[""]["network"]
            state = {name: tensor.numpy() for name, tensor in saved.items()}
            with torch.device("meta"):  # allocate nothing on trust
                require_fit(state, build_network(**architecture))
            classifier = cls(generator=np.random.default_rng(0), **architecture)
            classifier.load_state_dict(state)
        except pickle.UnpicklingError:  # whose advice is to let the file run its code
            raise ValueError("not a model of this network: holds something other than weights") from None
        except Exception as error:  # damaged bytes can fail anywhere in the reading
            raise ValueError(f"not a model of this network: {str(error)[:200]!r}") from None
        return classifier

    def _tensor(self, images: NDArray[np.floating[Any]]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(images)).to(self.device, self.dtype).unsqueeze(1)


def _floating(network: nn.Module) -> dict[str, torch.Tensor]:
    """The state without batch normalisation's count of batches, which nothing uses."""
    return {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def require_fit(state: Mapping[str, np.ndarray[Any, Any]], network: nn.Module) -> None:
    """Raise ValueError unless ``state`` has the names and shapes of this network's."""
    shapes = {name: array.shape for name, array in state.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in _floating(network).items()}
    if shapes != expected:
        raise ValueError(f"weights do not fit the network: expected {expected}, got {shapes}")
