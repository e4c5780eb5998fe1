"""The floor under the time of a NumPy training step: its matrix products and nothing else."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tests.benchmarks.task import BATCH, Task

Array = NDArray[np.float32]


def floor(task: Task) -> float:
    """The matrix products of a NumPy step and nothing else, on as many threads and in as many shards of the batch."""
    shards = task.threads if task.channels else 1
    threadpool_limits(task.threads // shards, user_api="blas")
    work = [list(products(task, BATCH // shards)) for _ in range(shards)]
    with ThreadPoolExecutor(shards) as threads:
        run = threads.map if shards > 1 else map
        for steps in (20, task.steps):
            started = time.perf_counter()
            for _ in range(steps):
                list(run(multiply, work))
    return (time.perf_counter() - started) / task.steps


def multiply(pairs: list[tuple[Array, Array, Array]]) -> None:
    """Each left matrix times its right one."""
    for left, right, result in pairs:
        np.matmul(left, right, out=result)


def products(task: Task, examples: int) -> Iterator[tuple[Array, Array, Array]]:
    """The factors of each layer's forward product and gradients, with memory for the result, shared by equal shapes."""
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
    results: dict[tuple[int, ...], Array] = {}
    for left, right in factors:
        shape = (*right.shape[:-2], left.shape[-2], right.shape[-1])
        yield left, right, results.setdefault(shape, np.empty(shape, np.float32))


def convolution_products(outputs: int, inputs: int, side: int, examples: int) -> list[tuple[Array, Array]]:
    """Those of a 5x5 convolution, row by row as Conv2d has them."""
    rows, depth = side - 4, 5 * inputs
    windows = sliding_window_view(random(side * depth, rows * examples), 5 * depth, axis=0)[::depth].transpose(0, 2, 1)
    gradient = random(rows, outputs, rows * examples)
    factors = [(random(outputs, 5 * depth), windows), (windows, gradient.transpose(0, 2, 1))]
    if inputs == 1:  # nobody needs the gradient of the pixels
        return factors
    weight = random(depth, 5 * outputs)
    for row in range(side):  # each is in the windows of up to five rows
        near = gradient[max(0, row - 4) : row + 1].reshape(-1, gradient.shape[2])
        factors += [(weight[:, : len(near)], near)]
    return factors


def random(*shape: int) -> Array:
    """Numbers to multiply."""
    return np.random.default_rng(0).random(shape, np.float32)
