"""What ``make bench`` times, each in a process of its own: ``python -m tests.benchmarks.contenders NAME TASK``."""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from stages.engines import make
from stages.engines.config import Config, EngineConfig
from stages.engines.network import build_layers
from stages.pipeline.classifier import UNSTANDARDIZED
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split
from stages.training.checkpoint import Checkpoint
from stages.training.loop import train

BATCH, STEPS = 64, 300
Array = NDArray[np.float32]


class Task(NamedTuple):
    """A network, by its layers between pixels and classes, and the CPU threads that train it."""

    threads: int
    channels: list[int]
    hidden_sizes: list[int]


def main() -> None:
    """Train 300 steps after a few that do not count; print seconds for a step and the process's peak memory."""
    task = Task(*json.loads(sys.argv[2]))
    with threadpool_limits(task.threads):
        seconds = CONTENDERS[sys.argv[1]](task)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    print(json.dumps({"milliseconds": seconds * 1000, "mebibytes": peak}))


def random_split(count: int) -> Split:
    """Random images with random labels: the time of a step does not depend on what is learned."""
    generator = np.random.default_rng(0)
    return Split(generator.normal(size=(count, 28, 28)).astype(np.float32), generator.integers(10, size=count))


def config_for(task: Task) -> EngineConfig:
    """The committed optimizer with the task's layers and threads, for one epoch."""
    return load_config(Config).torch.updated(
        network={"channels": task.channels, "hidden_sizes": task.hidden_sizes},
        training={"epochs": 1, "batch_size": BATCH},
        threads=task.threads,
        device="cpu",
    )


def engine(name: str, task: Task) -> float:
    """One of the two engines, through the pipeline's own training loop, with fused AdamW in PyTorch."""
    config, generators = config_for(task), spawn_generators(0)
    classifier = make(name, config, generators, UNSTANDARDIZED)
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder, "history.csv")
        for steps in (20, STEPS):  # the first few pay for what happens once
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
    for steps in (20, STEPS):
        split = random_split(steps * BATCH)
        dataset = TensorDataset(torch.from_numpy(split.images[:, None]), torch.from_numpy(split.labels))
        started = time.perf_counter()
        for images, labels in DataLoader(dataset, BATCH, shuffle=True):
            optimizer.zero_grad()
            loss = loss_function(network(images), labels)
            loss.backward()
            optimizer.step()
    return (time.perf_counter() - started) / STEPS


def scikit_learn(task: Task) -> float:
    """scikit-learn's own network of the same dense layers, with Adam."""
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(task.hidden_sizes, batch_size=BATCH, shuffle=True)
    for steps in (20, STEPS):
        split = random_split(steps * BATCH)
        flat = split.images.reshape(len(split.images), -1)
        started = time.perf_counter()
        network.partial_fit(flat, split.labels, classes=np.arange(10))
    return (time.perf_counter() - started) / STEPS


def floor(task: Task) -> float:
    """The matrix products of a NumPy step and nothing else, on as many threads and in as many shards of the batch."""
    shards = task.threads if task.channels else 1
    threadpool_limits(task.threads // shards, user_api="blas")
    work = [list(products(task, BATCH // shards)) for _ in range(shards)]
    with ThreadPoolExecutor(shards) as threads:
        run = threads.map if shards > 1 else map
        for steps in (20, STEPS):
            started = time.perf_counter()
            for _ in range(steps):
                list(run(multiply, work))
    return (time.perf_counter() - started) / STEPS


def multiply(pairs: list[tuple[Array, Array, Array]]) -> None:
    """Each left matrix times its right one."""
    for left, right, result in pairs:
        np.matmul(left, right, out=result)


def products(task: Task, examples: int) -> Iterator[tuple[Array, Array, Array]]:
    """The factors of each layer's forward product and gradients, with memory for the result."""
    side, inputs = 28, 1
    factors: list[tuple[Array, Array]] = []
    for outputs in task.channels:
        factors += convolution_products(outputs, inputs, side, examples)
        side, inputs = (side - 4) // 2, outputs
    features = inputs * side * side
    for units in (*task.hidden_sizes, 10):
        weight, batch, gradient = random(units, features), random(features, examples), random(units, examples)
        factors += [(weight, batch), (gradient, batch.T)]
        factors += [(weight.T, gradient)] if features != 28 * 28 else []  # nobody needs that of the pixels
        features = units
    for left, right in factors:
        yield left, right, left @ right


def convolution_products(outputs: int, inputs: int, side: int, examples: int) -> list[tuple[Array, Array]]:
    """Those of a 5x5 convolution, row by row as Conv2d has them."""
    rows, depth = side - 4, 5 * inputs
    windows = sliding_window_view(random(side * depth, rows * examples), 5 * depth, axis=0)[::depth].transpose(0, 2, 1)
    gradient = random(rows, outputs, rows * examples)
    factors = [(random(outputs, 5 * depth), windows), (windows, gradient.transpose(0, 2, 1))]
    return factors if inputs == 1 else factors + [(random(depth, outputs), gradient)] * 5


def random(*shape: int) -> Array:
    """Numbers to multiply."""
    return np.random.default_rng(0).random(shape, np.float32)


CONTENDERS: dict[str, Callable[[Task], float]] = {
    "scratch": partial(engine, "scratch"),
    "torch": partial(engine, "torch"),
    "tutorial": tutorial,
    "scikit-learn": scikit_learn,
    "floor": floor,
}


if __name__ == "__main__":
    main()
