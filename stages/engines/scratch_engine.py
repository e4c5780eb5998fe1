"""The network, its loss and its optimizer together: a classifier of digits that the pipeline can train."""

import io
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stages.engines.scratch.activations import ACTIVATIONS
from stages.engines.scratch.convolution import Conv2d, MaxPool2d
from stages.engines.scratch.initializers import INITIALIZERS
from stages.engines.scratch.layers import Array, Dropout, Flatten, Layer, Linear
from stages.engines.scratch.losses import CrossEntropyLoss, log_softmax
from stages.engines.scratch.network import Network, require_fit
from stages.engines.scratch.normalization import BatchNorm
from stages.engines.scratch.optimizers import MovingAverage, clip_gradients, make_optimizer
from stages.engines.scratch.parallel import Piece, Team

SIDE, CLASSES = 28, 10
KERNEL, POOL = 5, 2


def build_layers(
    channels: Sequence[int],
    hidden: Sequence[int],
    activation: str,
    batch_norm: bool,
    dropout: float,
    dropout_generator: np.random.Generator,
) -> list[Layer]:
    """The layers between pictures (N, 1, 28, 28) and 10 logits.

    A block of convolution for each of the ``channels``, then a block for each of the ``hidden`` layers, then the
    output. Pooling comes before the activation: a quarter of the work, and without batch normalisation the same result
    when the activation never falls. Batch normalisation has a bias of its own, and takes away any before it.
    """
    layers: list[Layer] = []
    side, inputs = SIDE, 1
    for outputs in channels:
        layers += [Conv2d(inputs, outputs, KERNEL, bias=not batch_norm), MaxPool2d(POOL)]
        layers += [BatchNorm(outputs)] if batch_norm else []
        layers += [ACTIVATIONS[activation]()]
        side, inputs = (side - KERNEL + 1) // POOL, outputs
    layers += [Flatten()]
    features = inputs * side * side
    for units in hidden:
        layers += [Linear(features, units, bias=not batch_norm)]
        layers += [BatchNorm(units)] if batch_norm else []
        layers += [ACTIVATIONS[activation]()]
        layers += [Dropout(dropout, dropout_generator)] if dropout > 0 else []
        features = units
    return [*layers, Linear(features, CLASSES)]


class ScratchClassifier:
    """A network between 28 x 28 pixels and 10 classes, with what trains it; biases start at 0.

    Images are (N, 28, 28) of ``dtype``, in which all arithmetic is, and labels (N,). Unknown names raise KeyError. What
    is used and saved are the weights themselves, or with ``ema`` > 0 their moving average. With convolution, each of
    the ``threads`` learns from a piece of the batch; dense networks are little but large matrix products, which NumPy's
    BLAS spreads over the threads that are left to it, ``blas_threads``.
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
        initialization: str = "xavier_uniform",
        label_smoothing: float = 0.0,
        optimizer: str = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        gradient_clip: float = 0.0,
        ema: float = 0.0,
        threads: int = 1,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.architecture = {
            "channels": list(channels),
            "hidden": list(hidden),
            "activation": activation,
            "batch_norm": batch_norm,
            "dropout": dropout,
        }
        self.dropout_generator = dropout_generator or np.random.default_rng(0)
        pieces = threads if channels else 1
        self.blas_threads = threads // pieces
        self._team = Team(pieces)
        self.learning = self._networks(dtype, pieces)
        self.network = self.learning[0]
        for layer in self.network.layers:
            if isinstance(layer, Linear | Conv2d):
                weight = layer.parameters["weight"]
                weight[...] = INITIALIZERS[initialization](generator, weight.shape)
        self.losses = [CrossEntropyLoss(label_smoothing) for _ in self.learning]
        self.gradient_clip = gradient_clip
        self.optimizer = make_optimizer(
            optimizer, self.network.parameters, self.network.gradients, momentum, weight_decay
        )
        self.averages: list[MovingAverage] = []
        self.using = self._networks(dtype, pieces) if ema else self.learning
        self.used = self.using[0]
        if ema:
            self.averages = [
                MovingAverage(self.network.parameters, self.used.parameters, ema),
                MovingAverage(self.network.buffers, self.used.buffers, ema),
            ]
            self.used.load(self.network.state())

    def _networks(self, dtype: DTypeLike, pieces: int) -> list[Network]:
        """A network for each piece of a batch, all with the parameters of the first."""
        networks = [
            Network(build_layers(**self.architecture, dropout_generator=self.dropout_generator), dtype)  # type: ignore[arg-type]  # a dict of all kinds
            for _ in range(pieces)
        ]
        for other in networks[1:]:
            other.share(networks[0])
        return networks

    def train_batch(self, images: Array, labels: NDArray[np.int64], learning_rate: float) -> float:
        """Forward, loss, backward, step. Returns the batch's mean loss before the step."""

        def learn(network: Network, loss: CrossEntropyLoss, piece: Piece) -> float:
            logits = network.forward(images[piece.rows, None], piece=piece)
            share = len(logits) / len(labels)
            mean = loss.forward(logits, labels[piece.rows])
            network.backward(share * loss.backward())
            return share * mean

        work = [partial(learn, *each) for each in zip(self.learning, self.losses, strict=True)]
        losses = self._team.in_pieces(len(labels), work)
        for other in self.learning[1 : len(losses)]:
            self.network.gradients += other.gradients
        if self.gradient_clip:
            clip_gradients(self.network.gradients, self.gradient_clip)
        self.optimizer.step(learning_rate)
        for average in self.averages:
            average.update(self.optimizer.steps)
        return sum(losses)

    def predict(self, images: Array) -> NDArray[np.float32]:
        """Return the probability of each class, float32 (N, 10)."""

        def use(network: Network, piece: Piece) -> NDArray[np.float32]:
            logits = network.forward(images[piece.rows, None], training=False, piece=piece)
            return np.exp(log_softmax(logits)).astype(np.float32, order="C")

        work = [partial(use, network) for network in self.using]
        return np.concatenate(self._team.in_pieces(len(images), work))

    def parameter_count(self) -> int:
        """How many numbers training moves."""
        return self.network.parameters.size

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of the weights: ``1.weight`` (out, in), ``1.bias`` (out,), ... as PyTorch would."""
        return {name: array.copy() for name, array in self.used.state().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Take over weights of the same names and shapes. Raises ValueError when they do not fit."""
        for network in (self.network, self.used):
            network.load(state)

    def training_state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of all that training moves, so that it can go on from here: weights, optimizer, generator."""
        generator = json.dumps(self.dropout_generator.bit_generator.state)
        return {name: array.copy() for name, array in self._moving().items()} | {
            "optimizer.steps": np.array(self.optimizer.steps),
            "dropout_generator": np.array(generator),
        }

    def load_training_state(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Go on from a :meth:`training_state` of an equal classifier."""
        for name, array in self._moving().items():
            array[...] = state[name]
        self.optimizer.steps = int(state["optimizer.steps"])
        self.dropout_generator.bit_generator.state = json.loads(str(state["dropout_generator"]))

    def _moving(self) -> dict[str, Array]:
        return {
            "parameters": self.network.parameters,
            "buffers": self.network.buffers,
            "used.parameters": self.used.parameters,
            "used.buffers": self.used.buffers,
        } | {f"optimizer.{name}": array for name, array in self.optimizer.state().items()}

    def to_bytes(self) -> bytes:
        """Return an .npz file with the weights and, as JSON text under ``network``, what rebuilds the network."""
        buffer = io.BytesIO()
        weights: dict[str, Any] = self.state_dict()
        np.savez(buffer, network=np.array(json.dumps(self.architecture)), **weights)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Rebuild a classifier from :meth:`to_bytes`. Raises ValueError when it cannot; never unpickles."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                if any(member.compress_type for member in file.zip.infolist()):
                    raise ValueError("compressed")  # it could swell without limit
                state = dict(file)
            architecture = json.loads(str(state.pop("network")))
            generator = np.random.default_rng(0)
            require_fit(state, build_layers(**architecture, dropout_generator=generator))  # allocate nothing on trust
            classifier = cls(generator=generator, **architecture)
            classifier.load_state_dict(state)
        except Exception as error:  # damaged bytes can fail anywhere in the reading
            raise ValueError(f"not a model of this network: {str(error)[:200]!r}") from None
        return classifier
