"""What a machine of the cluster does: train one configuration as the pipeline would, an epoch at a time.

A worker gets the training images, of which it cuts the validation split as the preprocess stage does. The test split
never leaves the machine that the command runs on.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import ray

from stages.data.idx import Bytes
from stages.engines import make
from stages.engines.config import EngineConfig
from stages.pipeline.errors import PipelineError
from stages.pipeline.history import EpochMetrics
from stages.pipeline.rng import spawn_generators
from stages.preprocess import split_and_standardize
from stages.tools.cluster.node import Environment, differences, environment
from stages.training.checkpoint import Checkpoint, Progress
from stages.training.loop import is_finished, train_epochs


class MachineDiffersError(PipelineError):
    """A machine would give other bytes than this one."""


class Job(NamedTuple):
    """A training as ``dvc exp run`` does it with this config, this seed and this size of the validation split."""

    engine: str
    config: EngineConfig
    seed: int
    validation_size: int


class Started(NamedTuple):
    """Where a worker is, and how many epochs the checkpoints gave it."""

    machine: str
    epochs: int


class Report(NamedTuple):
    """Where one training stands after an epoch, and the bytes from which any worker can go on."""

    epochs: list[EpochMetrics]
    is_finished: bool
    checkpoint: bytes


class Training:
    """A job being done, from a checkpoint on, or from the beginning where that is empty."""

    def __init__(self, job: Job, raw: tuple[Bytes, Bytes], checkpoint: bytes = b"") -> None:
        """``raw`` has the training images, uint8 (N, 28, 28), and their labels, uint8 (N,), as fetched."""
        engine, config, seed, validation_size = job
        self.config = config
        generators = spawn_generators(seed)
        training, validation, standardization = split_and_standardize(*raw, validation_size, generators.split)
        self.classifier = make(engine, config, generators, standardization)
        device = str(getattr(self.classifier, "device", "cpu"))
        name = Path(f"seed {seed}")  # of no file: the bytes travel
        self.checkpoint = Checkpoint(name, config, device, (training, validation), generators)
        self.progress = self.checkpoint.from_bytes(checkpoint, self.classifier) if checkpoint else Progress()
        self._epochs = train_epochs(self.classifier, training, validation, config, generators, self.progress)
        self._state = self.classifier.training_state()

    def advance(self) -> Report:
        """Train an epoch, unless training is finished. Raises PipelineError when it diverges."""
        # PyTorch's dropout draws from a generator of the whole process, which another seed's epoch has moved on.
        self.classifier.load_training_state(self._state)
        next(self._epochs, None)
        self._state = self.classifier.training_state()
        epochs = self.progress.epochs
        checkpoint = self.checkpoint.to_bytes(self.classifier, self.progress)
        return Report(epochs, is_finished(epochs, self.config.training), checkpoint)

    def model(self) -> bytes:
        """Return the model file of the best epoch."""
        self.classifier.load_state_dict(self.progress.best_state)
        return self.classifier.to_bytes()


class Worker:
    """Does jobs side by side, an epoch of each in turn: an actor of Ray, one process on one machine.

    ``start`` stands apart from the constructor because Ray passes on what a method raises, and not what that does.
    """

    def start(
        self, wanted: Environment, jobs: Sequence[Job], raw: tuple[Bytes, Bytes], checkpoints: Sequence[bytes]
    ) -> Started:
        """Prepare the training of each job, each from its checkpoint on. Raises MachineDiffersError."""
        if found := differences(environment(tuple(wanted.packages)), wanted):
            raise MachineDiffersError(f"the machine {machine()} differs: {', '.join(found)}")
        self.trainings = [Training(job, raw, each) for job, each in zip(jobs, checkpoints, strict=True)]
        return Started(machine(), min(len(each.progress.epochs) for each in self.trainings))

    def advance(self) -> list[Report]:
        """Train an epoch of each."""
        return [training.advance() for training in self.trainings]


def machine() -> str:
    """The address of this machine, and the beginning of its identifier in the cluster."""
    return f"{ray.util.get_node_ip_address()}/{ray.get_runtime_context().get_node_id()[:6]}"
