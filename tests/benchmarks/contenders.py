"""What ``make bench`` times, each in a process of its own: ``python -m tests.benchmarks.contenders NAME TASK``."""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from stages.engines import make
from stages.engines.network import build_layers
from stages.pipeline.classifier import UNSTANDARDIZED
from stages.pipeline.rng import spawn_generators
from stages.training.checkpoint import Checkpoint
from stages.training.loop import train
from tests.benchmarks import compiled, floor, with_jax
from tests.benchmarks.task import BATCH, Task, config_for, random_split


def main() -> None:
    """Train some steps after a few that do not count; print milliseconds for a step and the process's peak memory."""
    task = Task(*json.loads(sys.argv[2]))
    with threadpool_limits(task.threads):
        seconds = CONTENDERS[sys.argv[1]](task)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    print(json.dumps({"milliseconds": seconds * 1000, "mebibytes": peak}))


def engine(name: str, task: Task) -> float:
    """One of the two engines, through the pipeline's own training loop, with fused AdamW in PyTorch."""
    config, generators = config_for(task), spawn_generators(0)
    classifier = make(name, config, generators, UNSTANDARDIZED)
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder, "history.csv")
        for steps in (20, task.steps):  # the first few pay for what happens once
            split = random_split(steps * BATCH)
            checkpoint = Checkpoint(Path(folder, "checkpoint.npz"), config, "cpu", [split], generators)
            outcome = train(classifier, split, random_split(BATCH), config, generators, history, checkpoint)
            checkpoint.remove()
    return BATCH / outcome.throughput


def tutorial(task: Task) -> float:
    """PyTorch as its tutorials write it: a DataLoader that shuffles, and Adam as it comes."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(task.threads)
    network = torch.nn.Sequential(*build_layers(torch.nn, config_for(task).network))
    loss_function, optimizer = torch.nn.CrossEntropyLoss(), torch.optim.Adam(network.parameters())
    for steps in (20, task.steps):
        split = random_split(steps * BATCH)
        dataset = TensorDataset(torch.from_numpy(split.images[:, None]), torch.from_numpy(split.labels))
        started = time.perf_counter()
        for images, labels in DataLoader(dataset, BATCH, shuffle=True):
            optimizer.zero_grad()
            loss = loss_function(network(images), labels)
            loss.backward()
            optimizer.step()
    return (time.perf_counter() - started) / task.steps


def scikit_learn(task: Task) -> float:
    """scikit-learn's own network of the same dense layers, with Adam."""
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(task.hidden_sizes, batch_size=BATCH, shuffle=True)
    for steps in (20, task.steps):
        split = random_split(steps * BATCH)
        flat = split.images.reshape(len(split.images), -1)
        started = time.perf_counter()
        network.partial_fit(flat, split.labels, classes=np.arange(10))
    return (time.perf_counter() - started) / task.steps


CONTENDERS: dict[str, Callable[[Task], float]] = {
    "scratch": partial(engine, "scratch"),
    "torch": partial(engine, "torch"),
    "tutorial": tutorial,
    "torch.compile, loss": compiled.loss,
    "torch.compile, step": compiled.step,
    "jax, step": with_jax.step,
    "jax, epoch": with_jax.epoch,
    "scikit-learn": scikit_learn,
    "floor": floor.floor,
}


if __name__ == "__main__":
    main()
