"""The engines: which there are, how one is made for training, and how its trained model is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from stages.pipeline.classifier import Classifier
from stages.pipeline.errors import PipelineError


class Engine(NamedTuple):
    """The file that holds an engine's trained model, and the function that reads it."""

    model: Path
    read: Callable[[bytes], Classifier]


def read_torch(content: bytes) -> Classifier:
    """Read the PyTorch model. Imported here alone, because PyTorch takes seconds to load."""
    from stages.engines.torch_engine import TorchClassifier

    return TorchClassifier.from_bytes(content)


def read_scratch(content: bytes) -> Classifier:
    """Read the NumPy model."""
    from stages.engines.scratch_engine import ScratchClassifier

    return ScratchClassifier.from_bytes(content)


ENGINES = {
    "torch": Engine(Path("models/torch/mnist_model.pth"), read_torch),
    "scratch": Engine(Path("models/scratch/model.npz"), read_scratch),
}


def load(engine: str) -> Classifier:
    """Return an engine's trained classifier. Raises PipelineError for a model file that is missing or damaged."""
    path, read = ENGINES[engine]
    try:
        return read(path.read_bytes())
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing; train it with `dvc repro train_{engine}`") from None
    except ValueError as error:
        raise PipelineError(f"{path}: {error}; train it again with `dvc repro --force train_{engine}`") from None
