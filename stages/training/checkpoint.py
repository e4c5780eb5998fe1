"""Where training stands after an epoch, on disk, so that an interrupted training can go on."""

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stages.pipeline.classifier import Classifier
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes
from stages.pipeline.params import TrainingParameters
from stages.pipeline.rng import Generators
from stages.pipeline.splits import Split

STAGES = Path(__file__).parents[1]
State = dict[str, np.ndarray[Any, Any]]


@dataclass
class Progress:
    """What the loop knows after some epochs: the rows of history.csv, the best epoch's weights, the time taken."""

    history: list[list[float]] = field(default_factory=list)
    best_state: State = field(default_factory=dict)
    seconds: float = 0.0
    learning_seconds: float = 0.0


class Checkpoint:
    """A file that holds the progress of one training: this code with these parameters on these digits.

    What another training left there is not loaded, and is overwritten after the first epoch.
    """

    def __init__(
        self, path: Path, parameters: TrainingParameters, splits: Sequence[Split], generators: Generators
    ) -> None:
        self.path, self.generators = path, generators
        settings = parameters.model_dump(exclude={"resume"})
        digits = [zlib.crc32(array.tobytes()) for split in splits for array in split]
        code = [zlib.crc32(module.read_bytes()) for module in sorted(STAGES.rglob("*.py"))]
        # Before the first epoch, the generators' states stand for the seed.
        self._training = json.dumps([settings, digits, code, self._states()])

    def _states(self) -> list[Mapping[str, Any]]:
        return [generator.bit_generator.state for generator in self.generators]

    def save(self, classifier: Classifier, progress: Progress) -> None:
        """Write everything that the rest of the training depends on, in one step."""
        about = {
            "training": self._training,
            "history": progress.history,
            "seconds": [progress.seconds, progress.learning_seconds],
            "generators": self._states(),
        }
        buffer = io.BytesIO()
        arrays: dict[str, Any] = _named("classifier.", classifier.training_state())
        arrays |= _named("best.", progress.best_state) | {"about": np.array(json.dumps(about))}
        np.savez(buffer, **arrays)
        write_bytes(self.path, buffer.getvalue())

    def load(self, classifier: Classifier) -> Progress:
        """Bring the classifier and the generators back to where they were; without a file, leave all at the start.

        Raises PipelineError when it is this training's and yet does not fit, as on another device.
        """
        try:
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as file:
                state = dict(file)
            about = json.loads(str(state.pop("about")))
            if about["training"] != self._training:
                raise ValueError("it is of other parameters, of other digits or of other code")
        except FileNotFoundError:
            print("no interrupted training to resume: it starts with the first epoch", flush=True)
            return Progress()
        except Exception as error:  # damaged bytes can fail anywhere in the reading
            print(f"{self.path}: cannot be resumed, {error}; training starts with the first epoch", flush=True)
            return Progress()
        try:
            classifier.load_training_state(_renamed(state, "classifier."))
            for generator, saved in zip(self.generators, about["generators"], strict=True):
                generator.bit_generator.state = saved
            return Progress(about["history"], _renamed(state, "best."), *about["seconds"])
        except Exception as error:  # half of it may be loaded: no training can start from that
            raise PipelineError(
                f"{self.path}: does not fit, {error!r}; resume on the device where it was written, or remove it"
            ) from None

    def remove(self) -> None:
        """Forget the progress, once the model is safe."""
        self.path.unlink(missing_ok=True)


def _named(prefix: str, state: Mapping[str, np.ndarray[Any, Any]]) -> State:
    return {prefix + name: array for name, array in state.items()}


def _renamed(state: Mapping[str, np.ndarray[Any, Any]], prefix: str) -> State:
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
