"""The state of training after an epoch, on disk, so that an interrupted training can be resumed."""

import io
import json
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from stages.engines.config import EngineConfig
from stages.pipeline.arithmetic import KERNELS, environment_values
from stages.pipeline.classifier import Classifier, StateDict
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import npz_bytes, write_bytes
from stages.pipeline.history import EpochMetrics
from stages.pipeline.rng import Generators
from stages.pipeline.splits import Split

STAGES = Path(__file__).parents[1]
OTHERS = "other config, data, code, device, kernels or packages"
CODE = ("pipeline", "training", "engines")  # the folders of STAGES that decide what training does


@dataclass
class Progress:
    """What the loop knows after some epochs: their metrics, the best one's weights, the time taken."""

    epochs: list[EpochMetrics] = field(default_factory=list)
    best_state: StateDict = field(default_factory=dict)
    seconds: float = 0.0
    training_seconds: float = 0.0


class Checkpoint:
    """A file that holds the progress of one training: this code with this config on this device, kernels and splits.

    What another training left there is not loaded, and is overwritten after the first epoch.
    """

    def __init__(
        self, path: Path, config: EngineConfig, device: str, splits: Sequence[Split], generators: Generators
    ) -> None:
        self.path, self.generators = path, generators
        values = config.model_dump()
        data = [zlib.crc32(array.tobytes()) for split in splits for array in split]
        # Before the first epoch, the generators' states stand for the seed.
        self._identity = json.dumps(
            [values, device, environment_values(KERNELS), packages(), data, code_checksums(), self._generator_states()]
        )

    def _generator_states(self) -> list[Mapping[str, Any]]:
        return [generator.bit_generator.state for generator in self.generators]

    def save(self, classifier: Classifier, progress: Progress) -> None:
        """Write everything that the rest of the training depends on, atomically."""
        write_bytes(self.path, self.to_bytes(classifier, progress))

    def to_bytes(self, classifier: Classifier, progress: Progress) -> bytes:
        """Return what :meth:`save` writes."""
        metadata = {
            "identity": self._identity,
            "epochs": progress.epochs,
            "seconds": [progress.seconds, progress.training_seconds],
            "generators": self._generator_states(),
        }
        arrays = _join({"classifier": classifier.training_state(), "best": progress.best_state})
        return npz_bytes(arrays | {"metadata": np.array(json.dumps(metadata))})

    def load(self, classifier: Classifier) -> Progress:
        """Restore the classifier and the generators; without a file of this training, leave both at the start.

        Raises PipelineError when it is this training's and yet does not fit.
        """
        if not self.path.exists():
            return Progress()
        try:
            content = self.path.read_bytes()
        except OSError as error:
            return _start_over(f"{self.path}: cannot be resumed, {error}")
        return self.from_bytes(content, classifier)

    def from_bytes(self, content: bytes, classifier: Classifier) -> Progress:
        """Do what :meth:`load` does, with the bytes of the file."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                state = dict(file)
            metadata = json.loads(str(state.pop("metadata")))
            if metadata["identity"] != self._identity:
                return _start_over(f"{self.path} is of a training with {OTHERS}")
        except Exception as error:  # damaged bytes can fail anywhere in the reading
            return _start_over(f"{self.path}: cannot be resumed, {error}")
        try:
            parts = _split(state)
            epochs = [EpochMetrics(*epoch) for epoch in metadata["epochs"]]
            classifier.load_state_dict(parts["best"])  # which would otherwise fail after the last epoch
            classifier.load_training_state(parts["classifier"])
            for generator, saved in zip(self.generators, metadata["generators"], strict=True):
                generator.bit_generator.state = saved
            return Progress(epochs, parts["best"], *metadata["seconds"])
        except Exception as error:  # half of it may be loaded: no training can start from that
            raise PipelineError(
                f"{self.path}: does not fit, {error!r}; remove it to start with the first epoch"
            ) from None

    def remove(self) -> None:
        """Forget the progress, once the model is safe."""
        self.path.unlink(missing_ok=True)


def _start_over(reason: str) -> Progress:
    print(f"{reason}; starting with the first epoch", flush=True)
    return Progress()


def code_checksums() -> list[int]:
    """Those of all modules that decide what training does."""
    modules = sorted(module for folder in CODE for module in (STAGES / folder).rglob("*.py"))
    return [zlib.crc32(module.read_bytes()) for module in modules]


def packages() -> list[str]:
    """The versions of what computes, which is loaded by then."""
    return [f"{name} {version(name)}" for name in ("numpy", "torch") if name in sys.modules]


def _join(parts: Mapping[str, StateDict]) -> StateDict:
    """All arrays of the parts, under names such as ``best.1.weight``."""
    return {f"{part}.{name}": array for part, state in parts.items() for name, array in state.items()}


def _split(state: StateDict) -> dict[str, StateDict]:
    """The reverse of :func:`_join`. Raises KeyError for an array of no known part."""
    parts: dict[str, StateDict] = {"classifier": {}, "best": {}}
    for name, array in state.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = array
    return parts
