"""The engines: which there are, how one is made for training, and how its trained model is loaded.

An engine is a module ``stages.engines.NAME_engine`` with a function ``make`` and a Classifier called ``CLASSIFIER``.
It is imported when it is used, because PyTorch takes seconds to load.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.pipeline.errors import PipelineError

if TYPE_CHECKING:  # the NumPy library below this package loads NumPy alone
    from stages.engines.config import EngineConfig
    from stages.pipeline.classifier import Classifier, Standardization
    from stages.pipeline.rng import Generators

ENGINES = {  # and the file of each one's trained model
    "torch": Path("models/torch/mnist_model.pth"),
    "scratch": Path("models/scratch/model.npz"),
}


def make(
    engine: str,
    config: "EngineConfig",
    generators: "Generators",
    standardization: "Standardization",
    dtype: str = "float32",
) -> "Classifier":
    """Return an untrained classifier, and give its arithmetic the threads of the config.

    Raises PipelineError for a device that this machine does not have.
    """
    classifier: Classifier = _module(engine).make(config, generators, standardization, dtype)
    return classifier


def load(engine: str) -> "Classifier":
    """Return an engine's trained classifier. Raises PipelineError for a model file that is missing or damaged."""
    path = ENGINES[engine]
    try:
        return from_bytes(engine, path.read_bytes())
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing; train it with `dvc repro train_{engine}`") from None
    except ValueError as error:
        raise PipelineError(f"{path}: {error}; train it again with `dvc repro --force train_{engine}`") from None


def from_bytes(engine: str, content: bytes) -> "Classifier":
    """Return the trained classifier of a model file. Raises ValueError for a damaged one."""
    classifier: Classifier = _module(engine).CLASSIFIER.from_bytes(content)
    return classifier


def _module(engine: str) -> Any:
    return import_module(f"stages.engines.{engine}_engine")
