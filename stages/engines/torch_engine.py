"""The PyTorch engine, written as PyTorch is usually written."""

import io
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stages.engines.config import EngineConfig, NetworkConfig, OptimizerConfig, TorchConfig
from stages.engines.network import build_layers, initial_weights
from stages.pipeline.classifier import UNSTANDARDIZED, Standardization, StateDict, check_training_state
from stages.pipeline.errors import PipelineError
from stages.pipeline.rng import Generators

TensorList = tuple[torch.Tensor, ...] | list[torch.Tensor]


def make(
    config: TorchConfig, generators: Generators, standardization: Standardization, dtype: str
) -> "TorchClassifier":
    """Return a classifier on the config's device, with as many CPU threads as the config says."""
    torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    if device == "cuda":
        make_cuda_deterministic()
    return TorchClassifier(config, generators, standardization, dtype, device)


def choose_device(name: str) -> str:
    """Return the device to use: the one named, or for ``auto`` cuda, else mps, else cpu.

    Raises PipelineError when this machine does not have the one named.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, present in available.items() if present)
    if not available[name]:
        present = ", ".join(device for device, here in available.items() if here)
        raise PipelineError(f"torch.device: must be auto or what this machine has ({present}), got '{name}'")
    return name


def make_cuda_deterministic() -> None:
    """Let two runs on one GPU give the same bytes, in float32 and not in TF32, which cuDNN's convolutions default to.

    https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read when cuBLAS is first used
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def make_optimizer(config: OptimizerConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the config's optimizer, fused into one pass over the parameters where PyTorch has that."""
    decay = config.weight_decay
    match config.name:
        case "sgd":
            return torch.optim.SGD(parameters, weight_decay=decay, fused=True)
        case "momentum" | "nesterov":
            nesterov = config.name == "nesterov" and config.momentum > 0
            return torch.optim.SGD(
                parameters, momentum=config.momentum, nesterov=nesterov, weight_decay=decay, fused=True
            )
        case "rmsprop":
            return RMSprop(parameters, weight_decay=decay)
        case "adam":
            return torch.optim.Adam(parameters, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(parameters, weight_decay=decay, fused=True)


class RMSprop(torch.optim.RMSprop):
    """PyTorch's, with a square root that is the same on every processor.

    PyTorch takes MKL's, which starts from an approximation (``rsqrtps``) that Intel and AMD implement differently.
    """

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # nothing here evaluates the loss again, as a closure would
        """Update the parameters that have a gradient."""
        for group in self.param_groups:
            alpha, decay = group["alpha"], group["weight_decay"]
            for parameter in (each for each in group["params"] if each.grad is not None):
                if not self.state[parameter]:
                    self.state[parameter]["square_avg"] = torch.zeros_like(parameter)
                square_avg = self.state[parameter]["square_avg"]
                grad = parameter.grad.add(parameter, alpha=decay)
                square_avg.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
                root = square_avg.rsqrt().reciprocal_()
                parameter.addcdiv_(grad, root.add_(group["eps"]), value=-group["lr"])


def make_ema(decay: float) -> Callable[[TensorList, TensorList, torch.Tensor | int], None]:
    """PyTorch's exponential moving average with a warm-up: after n updates, the decay is at most (1 + n) / (10 + n)."""

    def update(averages: TensorList, values: TensorList, updates: torch.Tensor | int) -> None:
        count = int(updates)
        warmed_up = min(decay, (1 + count) / (10 + count))
        get_ema_multi_avg_fn(warmed_up)(averages, values, updates)  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped

    return update


class TorchClassifier:
    """A network between 28 x 28 pixels and 10 classes, with what trains it.

    Images are (N, 28, 28) and labels (N,), as NumPy arrays; all arithmetic is in ``dtype`` on ``device``. Predicting
    and saving use the weights themselves, or with ``ema_decay`` > 0 their exponential moving average. Without
    generators the weights are whatever PyTorch draws, to be loaded over. Convolutions run on channels_last memory, in
    which they are fastest (https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html); what leaves
    here is contiguous as ever.
    """

    def __init__(
        self,
        config: EngineConfig,
        generators: Generators | None = None,
        standardization: Standardization = UNSTANDARDIZED,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.config, self.standardization = config, standardization
        self.dtype, self.device = getattr(torch, dtype), torch.device(device)
        network = nn.Sequential(*build_layers(nn, config.network)).to(self.device, self.dtype)
        self.network = network.to(memory_format=torch.channels_last)
        if generators:
            initialize(self.network, config.network, generators.weights)
            torch.manual_seed(int(generators.dropout.integers(2**63)))  # nn.Dropout takes no generator of its own
        self.ema: AveragedModel | None = None
        if config.optimizer.ema_decay:
            average = make_ema(config.optimizer.ema_decay)
            self.ema = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Made when training starts, because PyTorch then loads its compiler, which takes seconds.

        An optimizer allocates in its first step what it carries from step to step. Here that is done at once, by a step
        of no length, so that its state has the same names before and after training.
        """
        optimizer = make_optimizer(self.config.optimizer, list(self.network.parameters()))
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        for parameter in self.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        for state in optimizer.state.values():
            for tensor in state.values():
                tensor.zero_()
        return optimizer

    def train_batch(self, images: NDArray[np.floating[Any]], labels: NDArray[np.int64], learning_rate: float) -> float:
        """Forward, loss, backward, step. Returns the batch's mean loss before the step."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.network.train()
        logits = self.network(self._tensor(images))
        targets = torch.from_numpy(labels).to(self.device)
        loss = functional.cross_entropy(logits, targets, label_smoothing=self.config.training.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        if self.config.optimizer.max_grad_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.max_grad_norm)
        self.optimizer.step()
        if self.ema:
            self.ema.update_parameters(self.network)
        return loss.item()

    @property
    def inference_network(self) -> nn.Module:
        """The network that predicts and is saved."""
        return self.ema.module if self.ema else self.network

    def predict(self, images: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the probability of each class, float32 (N, 10)."""
        with torch.inference_mode():
            probabilities = functional.softmax(self.inference_network.eval()(self._tensor(images)), dim=1)
        return probabilities.float().cpu().numpy()

    def parameter_count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def state_dict(self) -> StateDict:
        """Return copies of the weights: ``1.weight`` (out, in), ``1.bias`` (out,), ..."""
        return {name: tensor.cpu().numpy().copy() for name, tensor in _floating(self.inference_network).items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Copy in weights of the same names and shapes. Raises ValueError when they do not fit."""
        check_state_dict(state, self.network)
        for network in (self.network, self.inference_network):
            for name, tensor in _floating(network).items():
                tensor.copy_(torch.from_numpy(state[name]))

    def training_state(self) -> StateDict:
        """Return copies of all that training changes: weights, optimizer, random generators."""
        tensors = self._training_tensors() | self._generator_states()
        return {name: tensor.cpu().numpy().copy() for name, tensor in tensors.items()}

    def load_training_state(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Resume from a :meth:`training_state` of an equal classifier. Raises ValueError for another one's."""
        check_training_state(state, self.training_state())  # before anything is changed
        torch.set_rng_state(torch.from_numpy(state["generator"]))
        if self.device.type != "cpu":
            self._backend().set_rng_state(torch.from_numpy(state["generator.device"]))
        for name, tensor in self._training_tensors().items():
            tensor.copy_(torch.from_numpy(state[name]))

    def _generator_states(self) -> dict[str, torch.Tensor]:
        own = {} if self.device.type == "cpu" else {"generator.device": self._backend().get_rng_state()}
        return {"generator": torch.get_rng_state(), **own}

    def _backend(self) -> Any:
        """torch.cuda or torch.mps."""
        return torch.get_device_module(self.device)

    def _training_tensors(self) -> dict[str, torch.Tensor]:
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        if self.ema:
            tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        return tensors

    def to_bytes(self) -> bytes:
        """Return a saved state_dict; config and standardization are in its metadata, where torch keeps versions."""
        state: OrderedDict[str, torch.Tensor] = OrderedDict(
            (name, tensor.cpu().clone(memory_format=torch.contiguous_format))
            for name, tensor in _floating(self.inference_network).items()
        )
        metadata = {
            "version": 1,
            "network": self.config.network.model_dump(),
            "pixel_mean": self.standardization.mean,
            "pixel_std": self.standardization.std,
        }
        state._metadata = {"": metadata}  # type: ignore[attr-defined]  # torch's own way
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Rebuild a classifier on the CPU from :meth:`to_bytes`. Raises ValueError when it cannot; runs no code."""
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as file:
                if any(member.compress_type for member in file.infolist()):
                    raise ValueError("compressed")  # it could expand without limit
            with warnings.catch_warnings(action="ignore"):  # of pickles that are no models
                saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            metadata = saved._metadata[""]
            config = EngineConfig(network=NetworkConfig.model_validate(metadata["network"]))
            standardization = Standardization(float(metadata["pixel_mean"]), float(metadata["pixel_std"]))
            state = {name: tensor.numpy() for name, tensor in saved.items()}
            with torch.device("meta"):  # allocate nothing before the shapes are checked
                check_state_dict(state, nn.Sequential(*build_layers(nn, config.network)))
            classifier = cls(config, standardization=standardization)
            classifier.load_state_dict(state)
        except pickle.UnpicklingError:  # whose advice is to let the file run its code
            raise ValueError("not a model of this network: holds something other than weights") from None
        except Exception as error:  # damaged bytes can fail anywhere in the reading
            raise ValueError(f"not a model of this network: {str(error)[:200]!r}") from None
        return classifier

    def _tensor(self, images: NDArray[np.floating[Any]]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(images)).to(self.device, self.dtype).unsqueeze(1)


CLASSIFIER = TorchClassifier


def initialize(network: nn.Module, config: NetworkConfig, generator: np.random.Generator) -> None:
    """Load the initial weights that every engine starts with."""
    state = _floating(network)
    weights = initial_weights({name: tuple(tensor.shape) for name, tensor in state.items()}, config, generator)
    for name, weight in weights.items():
        state[name].copy_(torch.from_numpy(weight))


def _floating(network: nn.Module) -> dict[str, torch.Tensor]:
    """The state without batch normalization's count of batches, which nothing uses."""
    return {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def check_state_dict(state: Mapping[str, np.ndarray[Any, Any]], network: nn.Module) -> None:
    """Raise ValueError unless ``state`` has the names and shapes of this network's."""
    shapes = {name: array.shape for name, array in state.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in _floating(network).items()}
    if shapes != expected:
        raise ValueError(f"weights do not fit the network: expected {expected}, got {shapes}")
