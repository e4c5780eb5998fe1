"""The same training in JAX, as its users write it for speed on a CPU.

Forward, loss, backward and optax's AdamW with the schedule are one function compiled by ``jax.jit``, which may
overwrite the weights that it gets (donated buffers). Images are channels last. 2x2 max pooling is a reshape and a
maximum, whose gradient takes a fraction of the time of ``reduce_window``'s. There are two ways to run it:

- ``step``: a call for each batch, copied from the shuffled images as the engines do. Losses are read at the end, so
  that preparing a batch overlaps with training on the last one.
- ``epoch``: one call for the epoch. The images are on the device, ``lax.scan`` takes the steps, and Python sees nothing
  until the end: no progress, and no stop where the loss diverges.

XLA has a thread for each core that the process may run on, so the process gets as many cores as the task has threads.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from stages.pipeline.splits import Split
from stages.training.batches import shuffled_batches
from stages.training.schedules import make_schedule
from tests.benchmarks.task import BATCH, Task, config_for, random_split

KERNEL_SIZE = 5


def step(task: Task) -> float:
    """Seconds for a step, each of them a call."""
    jax, jnp, init, train_step = prepare(task)
    compiled = jax.jit(train_step, donate_argnums=(0, 1))
    generator = np.random.default_rng(0)

    def run(parameters: Any, state: Any, split: Split) -> Any:
        losses = []
        for batch in shuffled_batches(split, BATCH, generator):
            parameters, state, loss = compiled(parameters, state, batch.images, batch.labels)
            losses.append(loss)
        np.asarray(jnp.stack(losses))
        return parameters, state

    return timed(run, init, task, warm_up=20)


def epoch(task: Task) -> float:
    """Seconds for a step, all of them in one call."""
    jax, _, init, train_step = prepare(task)

    def train_epoch(parameters: Any, state: Any, images: Any, labels: Any, key: Any) -> Any:
        def body(carry: Any, indices: Any) -> Any:
            *carry, loss = train_step(*carry, images[indices], labels[indices])
            return tuple(carry), loss

        order = jax.random.permutation(key, len(labels)).reshape(-1, BATCH)
        (parameters, state), losses = jax.lax.scan(body, (parameters, state), order)
        return parameters, state, losses

    compiled = jax.jit(train_epoch, donate_argnums=(0, 1))

    def run(parameters: Any, state: Any, split: Split) -> Any:
        parameters, state, losses = compiled(parameters, state, *jax.device_put(tuple(split)), jax.random.key(0))
        np.asarray(losses)
        return parameters, state

    return timed(run, init, task, warm_up=task.steps)  # it is compiled for the number of images


def timed(run: Callable[[Any, Any, Split], Any], init: Callable[[], Any], task: Task, warm_up: int) -> float:
    """Seconds for a step after some that do not count, among them compilation."""
    parameters, state = init()
    parameters, state = run(parameters, state, random_split(warm_up * BATCH))
    split = random_split(task.steps * BATCH)
    started = time.perf_counter()
    run(parameters, state, split)
    return (time.perf_counter() - started) / task.steps


def prepare(task: Task) -> Any:
    """``jax``, ``jax.numpy``, a function that makes weights and AdamW's state, and one that takes a step."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    if task.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import optax
    from jax import numpy as jnp

    config = config_for(task)
    schedule = make_schedule(config, task.steps)
    rates = jnp.asarray([schedule(index) for index in range(task.steps)])
    optimizer = optax.adamw(lambda count: rates[count % task.steps], weight_decay=config.optimizer.weight_decay)
    blocks = len(task.channels)

    def forward(parameters: Any, images: Any) -> Any:
        values = images[..., None]
        for weight, bias in parameters[:blocks]:
            dimensions = ("NHWC", "HWIO", "NHWC")
            values = jax.lax.conv_general_dilated(values, weight, (1, 1), "VALID", dimension_numbers=dimensions) + bias
            count, height, width, channels = values.shape
            values = values.reshape(count, height // 2, 2, width // 2, 2, channels).max((2, 4))
            values = jax.nn.relu(values)
        values = values.reshape(len(values), -1)
        for weight, bias in parameters[blocks:-1]:
            values = jax.nn.relu(values @ weight + bias)
        weight, bias = parameters[-1]
        return values @ weight + bias

    def mean_loss(parameters: Any, images: Any, labels: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(forward(parameters, images), labels).mean()

    def train_step(parameters: Any, state: Any, images: Any, labels: Any) -> Any:
        loss, gradients = jax.value_and_grad(mean_loss)(parameters, images, labels)
        updates, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state, loss

    def init() -> Any:
        parameters = jax.device_put(random_parameters(task))
        return parameters, optimizer.init(parameters)

    return jax, jnp, init, train_step


def random_parameters(task: Task) -> list[tuple[Any, Any]]:
    """Weight and bias of each layer, as JAX multiplies: (height, width, in, out) and (in, out)."""
    generator = np.random.default_rng(0)
    shapes: list[tuple[int, ...]] = []
    side, inputs = 28, 1
    for outputs in task.channels:
        shapes += [(KERNEL_SIZE, KERNEL_SIZE, inputs, outputs)]
        side, inputs = (side - KERNEL_SIZE + 1) // 2, outputs
    features = inputs * side * side
    for units in (*task.hidden_sizes, 10):
        shapes += [(features, units)]
        features = units
    return [
        (0.05 * generator.standard_normal(shape, dtype=np.float32), np.zeros(shape[-1], np.float32)) for shape in shapes
    ]
