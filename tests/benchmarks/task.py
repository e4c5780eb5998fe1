"""What is timed by ``make bench``: a network and its threads, its config, and its random images."""

from typing import NamedTuple

import numpy as np

from stages.engines.config import Config, EngineConfig
from stages.pipeline.params import load_config
from stages.pipeline.splits import Split

BATCH = 64


class Task(NamedTuple):
    """A network, by its layers between pixels and classes, and the CPU threads that train it."""

    threads: int
    channels: list[int]
    hidden_sizes: list[int]

    @property
    def steps(self) -> int:
        """Steps that are timed: 0.2 to 5 seconds."""
        return 100 if self.channels else 300


def random_split(count: int) -> Split:
    """Random images with random labels: the time of a step does not depend on what is learned."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((count, 28, 28), np.float32)
    return Split(images, generator.integers(10, size=count))


def config_for(task: Task) -> EngineConfig:
    """The committed optimizer with the task's layers and threads, for one epoch."""
    return load_config(Config).torch.updated(
        network={"channels": task.channels, "hidden_sizes": task.hidden_sizes},
        training={"epochs": 1, "batch_size": BATCH},
        threads=task.threads,
        device="cpu",
    )
