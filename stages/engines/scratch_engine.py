"""The NumPy engine: the network, its loss and its optimizer, joined to a classifier that the pipeline can train."""

import io
import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from stages.engines.config import EngineConfig, NetworkConfig
from stages.engines.network import build_layers, initial_weights
from stages.engines.scratch import nn, optim
from stages.engines.scratch.layers import Array
from stages.engines.scratch.memory import keep_freed_memory
from stages.engines.scratch.parallel import Shard, WorkerGroup
from stages.engines.scratch.sequential import check_state_dict
from stages.pipeline.classifier import UNSTANDARDIZED, Standardization, StateDict, check_training_state
from stages.pipeline.files import npz_bytes
from stages.pipeline.rng import Generators


def make(
    config: EngineConfig, generators: Generators, standardization: Standardization, dtype: str
) -> "ScratchClassifier":
    """Return a classifier; NumPy's BLAS gets its ``blas_threads``, and this process keeps memory that is freed."""
    classifier = ScratchClassifier(config, generators, standardization, dtype)
    threadpool_limits(classifier.blas_threads, user_api="blas")
    keep_freed_memory()
    return classifier


class ScratchClassifier:
    """A network between 28 x 28 pixels and 10 classes, with what trains it.

    Images are (N, 28, 28) of ``dtype``, in which all arithmetic is, and labels (N,). Predicting and saving use the
    weights themselves, or with ``ema_decay`` > 0 their exponential moving average. With convolution, each of the
    config's threads trains a replica on a shard of the batch; dense networks are little but large matrix products,
    which NumPy's BLAS spreads over ``blas_threads``. Without generators the weights are 0, to be loaded over.
    """

    def __init__(
        self,
        config: EngineConfig,
        generators: Generators | None = None,
        standardization: Standardization = UNSTANDARDIZED,
        dtype: str = "float32",
    ) -> None:
        self.config, self.standardization = config, standardization
        self.dropout_generator = generators.dropout if generators else np.random.default_rng()
        shards = config.threads if config.network.channels else 1
        self.blas_threads = config.threads // shards
        self._workers = WorkerGroup(shards)
        self.replicas = self._make_replicas(shards, dtype)
        self.network = self.replicas[0]
        if generators:
            state = self.network.state_dict()
            shapes = {name: array.shape for name, array in state.items()}
            self.network.load_state_dict(state | initial_weights(shapes, config.network, generators.weights))
        self.losses = [nn.CrossEntropyLoss(label_smoothing=config.training.label_smoothing) for _ in self.replicas]
        self.optimizer = optim.make_optimizer(
            config.optimizer.name,
            self.network.parameters,
            self.network.gradients,
            config.optimizer.momentum,
            config.optimizer.weight_decay,
        )
        decay = config.optimizer.ema_decay
        self.ema_replicas = self._make_replicas(shards, dtype) if decay else self.replicas
        self.ema_network = self.ema_replicas[0]
        self.emas: list[optim.ExponentialMovingAverage] = []
        if decay:
            self.ema_network.load_state_dict(self.network.state_dict())
            self.emas = [
                optim.ExponentialMovingAverage(self.network.parameters, self.ema_network.parameters, decay),
                optim.ExponentialMovingAverage(self.network.buffers, self.ema_network.buffers, decay),
            ]

    def _make_replicas(self, count: int, dtype: str) -> list[nn.Sequential]:
        """A network for each shard of a batch, all with the parameters of the first."""
        replicas = [nn.Sequential(*build_layers(nn, self.config.network), dtype=dtype) for _ in range(count)]
        for replica in replicas:
            if replica is not replicas[0]:
                replica.tie_parameters(replicas[0])
            for layer in replica:
                if isinstance(layer, nn.Dropout):
                    layer.generator = self.dropout_generator
        return replicas

    def train_batch(self, images: Array, labels: NDArray[np.int64], learning_rate: float) -> float:
        """Forward, loss, backward, step. Returns the batch's mean loss before the step."""

        def train_shard(network: nn.Sequential, loss: nn.CrossEntropyLoss, shard: Shard) -> float:
            network.train()
            network.set_shard(shard)
            logits = network.forward(images[shard.examples, None])
            fraction = len(logits) / len(labels)
            mean_loss = loss.forward(logits, labels[shard.examples])
            network.backward(fraction * loss.backward())
            return fraction * mean_loss

        tasks = [partial(train_shard, *each) for each in zip(self.replicas, self.losses, strict=True)]
        losses = self._workers.run(len(labels), tasks)
        for replica in self.replicas[1 : len(losses)]:
            self.network.gradients += replica.gradients
        if self.config.optimizer.max_grad_norm:
            optim.clip_grad_norm_(self.network.gradients, self.config.optimizer.max_grad_norm)
        self.optimizer.lr = learning_rate
        self.optimizer.step()
        for ema in self.emas:
            ema.update(self.optimizer.steps)
        return sum(losses)

    def predict(self, images: Array) -> NDArray[np.float32]:
        """Return the probability of each class, float32 (N, 10)."""

        def predict_shard(network: nn.Sequential, shard: Shard) -> NDArray[np.float32]:
            network.eval()
            network.set_shard(shard)
            logits = network.forward(images[shard.examples, None])
            return np.exp(nn.log_softmax(logits)).astype(np.float32, order="C")

        tasks = [partial(predict_shard, network) for network in self.ema_replicas]
        return np.concatenate(self._workers.run(len(images), tasks))

    def parameter_count(self) -> int:
        """Number of trainable parameters."""
        return self.network.parameters.size

    def state_dict(self) -> StateDict:
        """Return copies of the weights: ``1.weight`` (out, in), ``1.bias`` (out,), ... as PyTorch would."""
        return {name: array.copy() for name, array in self.ema_network.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Copy in weights of the same names and shapes. Raises ValueError when they do not fit."""
        for network in (self.network, self.ema_network):
            network.load_state_dict(state)

    def training_state(self) -> StateDict:
        """Return copies of all that training changes: weights, optimizer, random generator."""
        generator = json.dumps(self.dropout_generator.bit_generator.state)
        return {name: array.copy() for name, array in self._training_arrays().items()} | {
            "optimizer.steps": np.array(self.optimizer.steps),
            "dropout_generator": np.array(generator),
        }

    def load_training_state(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Resume from a :meth:`training_state` of an equal classifier. Raises ValueError for another one's."""
        check_training_state(state, self.training_state())  # before anything is changed
        self.dropout_generator.bit_generator.state = json.loads(str(state["dropout_generator"]))
        for name, array in self._training_arrays().items():
            array[...] = state[name]
        self.optimizer.steps = int(state["optimizer.steps"])

    def _training_arrays(self) -> dict[str, Array]:
        return {
            "parameters": self.network.parameters,
            "buffers": self.network.buffers,
            "ema.parameters": self.ema_network.parameters,
            "ema.buffers": self.ema_network.buffers,
        } | {f"optimizer.{name}": array for name, array in self.optimizer.state_dict().items()}

    def to_bytes(self) -> bytes:
        """Return an .npz file: the weights, the network's config as JSON text, and the standardization."""
        metadata = {
            "network": np.array(self.config.network.model_dump_json()),
            "pixel_mean": np.array(self.standardization.mean),
            "pixel_std": np.array(self.standardization.std),
        }
        return npz_bytes({**metadata, **self.state_dict()})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Rebuild a classifier from :meth:`to_bytes`. Raises ValueError when it cannot; never unpickles."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                if any(member.compress_type for member in file.zip.infolist()):
                    raise ValueError("compressed")  # it could expand without limit
                state = dict(file)
            config = EngineConfig(network=NetworkConfig.model_validate_json(str(state.pop("network"))))
            standardization = Standardization(float(state.pop("pixel_mean")), float(state.pop("pixel_std")))
            check_state_dict(state, build_layers(nn, config.network))  # before anything is allocated
            classifier = cls(config, standardization=standardization)
            classifier.load_state_dict(state)
        except Exception as error:  # damaged bytes can fail anywhere in the reading
            raise ValueError(f"not a model of this network: {str(error)[:200]!r}") from None
        return classifier


CLASSIFIER = ScratchClassifier
