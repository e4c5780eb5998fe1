"""The same training in PyTorch with ``torch.compile``, which needs a C++ compiler: two ways to use it.

``loss`` compiles forward pass and loss, and with them the backward pass, and leaves AdamW to PyTorch's fused kernel.
``step`` compiles all of a step, AdamW and the schedule's learning rate included, into one graph without autograd.
Batches, their order, learning rates and reading the loss are the engine's.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from stages.engines.network import build_layers
from stages.training.batches import shuffled_batches
from stages.training.schedules import make_schedule
from tests.benchmarks.task import BATCH, Task, config_for, random_split

BETAS, EPSILON = (0.9, 0.999), 1e-8


def loss(task: Task) -> float:
    """Seconds for a step of which all but the optimizer is compiled."""
    import torch

    network, decay = make_network(task), config_for(task).optimizer.weight_decay
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=decay, fused=True)

    @torch.compile(fullgraph=True)
    def mean_loss(images: Any, labels: Any) -> Any:
        return torch.nn.functional.cross_entropy(network(images.unsqueeze(1)), labels)

    def train_batch(images: Any, labels: Any, learning_rate: float) -> float:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.zero_grad()
        value = mean_loss(images, labels)
        value.backward()
        optimizer.step()
        return float(value.item())

    return timed(train_batch, task)


def step(task: Task) -> float:
    """Seconds for a step that is one compiled function."""
    import torch

    network, decay = make_network(task), config_for(task).optimizer.weight_decay
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    exp_avg, exp_avg_sq = ({name: torch.zeros_like(weight) for name, weight in weights.items()} for _ in range(2))
    count, rate = torch.tensor(0.0), torch.tensor(0.0)

    def mean_loss(weights: Any, images: Any, labels: Any) -> Any:
        logits = torch.func.functional_call(network, weights, (images.unsqueeze(1),))
        return torch.nn.functional.cross_entropy(logits, labels)

    @torch.compile(fullgraph=True)
    @torch.no_grad()
    def train_step(weights: Any, exp_avg: Any, exp_avg_sq: Any, count: Any, rate: Any, images: Any, labels: Any) -> Any:
        gradients, value = torch.func.grad_and_value(mean_loss)(weights, images, labels)
        corrections = [1 - beta**count for beta in BETAS]
        for name, gradient in gradients.items():
            exp_avg[name].lerp_(gradient, 1 - BETAS[0])
            exp_avg_sq[name].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            root = (exp_avg_sq[name] / corrections[1]).sqrt() + EPSILON
            weights[name].mul_(1 - rate * decay).sub_(rate / corrections[0] * exp_avg[name] / root)
        return value

    def train_batch(images: Any, labels: Any, learning_rate: float) -> float:
        count.add_(1)
        rate.fill_(learning_rate)
        return float(train_step(weights, exp_avg, exp_avg_sq, count, rate, images, labels).item())

    return timed(train_batch, task)


def make_network(task: Task) -> Any:
    """The engine's network, with its memory format."""
    import torch

    torch.set_num_threads(task.threads)
    network = torch.nn.Sequential(*build_layers(torch.nn, config_for(task).network))
    return network.to(memory_format=torch.channels_last)


def timed(train_batch: Callable[[Any, Any, float], float], task: Task) -> float:
    """Seconds for a step after some that do not count, among them compilation."""
    import torch

    generator, schedule = np.random.default_rng(0), make_schedule(config_for(task), task.steps)
    for steps in (20, task.steps):
        split = random_split(steps * BATCH)
        started = time.perf_counter()
        for index, batch in enumerate(shuffled_batches(split, BATCH, generator)):
            train_batch(torch.from_numpy(batch.images), torch.from_numpy(batch.labels), schedule(index))
    return (time.perf_counter() - started) / task.steps
