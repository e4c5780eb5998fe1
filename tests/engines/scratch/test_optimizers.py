"""Every optimizer follows torch.optim over 20 steps in float64, under gradients and learning rates that change."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stages.engines.scratch.optimizers import BLOCK, MovingAverage, clip_gradients, make_optimizer

Maker = Callable[..., torch.optim.Optimizer]

TORCH: dict[str, tuple[Maker, dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.8}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("name", TORCH)
def test_20_steps_as_torch(name: str, weight_decay: float) -> None:
    generator = np.random.default_rng(0)
    parameters = generator.normal(size=BLOCK + 7)  # one whole block and a part of one
    gradients = np.zeros_like(parameters)
    tensor = torch.nn.Parameter(torch.from_numpy(parameters.copy()))
    maker, options = TORCH[name]
    reference = maker([tensor], lr=1.0, weight_decay=weight_decay, **options)
    ours = make_optimizer(name, parameters, gradients, momentum=0.8, weight_decay=weight_decay)
    for step in range(20):
        gradients[...] = generator.normal(size=gradients.size) * 10.0 ** generator.integers(-6, 2)
        given = gradients.copy()
        tensor.grad = torch.from_numpy(gradients.copy())
        learning_rate = 0.01 / (1 + step)
        reference.param_groups[0]["lr"] = learning_rate
        reference.step()
        ours.step(learning_rate)
        assert_allclose(parameters, tensor.detach().numpy(), rtol=1e-9, atol=1e-14)
        assert (gradients == given).all()


@pytest.mark.parametrize("name", TORCH)
def test_float32_stays_float32(name: str) -> None:
    parameters, gradients = np.ones(3, np.float32), np.ones(3, np.float32)
    optimizer = make_optimizer(name, parameters, gradients, weight_decay=0.1)
    optimizer.step(0.1)
    held = [value for value in vars(optimizer).values() if isinstance(value, np.ndarray)]
    assert {array.dtype for array in held} == {np.dtype(np.float32)}


@pytest.mark.parametrize("largest", [0.5, 3.0, 1e6])
def test_the_gradient_is_shortened_as_torch_does(largest: float) -> None:
    gradients = np.random.default_rng(0).normal(size=50)
    tensors = [torch.zeros(20, dtype=torch.float64), torch.zeros(30, dtype=torch.float64)]
    tensors[0].grad, tensors[1].grad = torch.from_numpy(gradients.copy()).tensor_split([20])
    torch.nn.utils.clip_grad_norm_(tensors, largest)
    clip_gradients(gradients, largest)
    assert_allclose(gradients, torch.cat([tensor.grad for tensor in tensors if tensor.grad is not None]), rtol=1e-9)


def test_the_moving_average_is_torchs() -> None:
    generator = np.random.default_rng(0)
    network = torch.nn.Linear(4, 3, bias=False).double()
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.8))  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
    values, average = np.zeros(12), generator.normal(size=12)
    ours = MovingAverage(values, average, 0.8)
    for step in range(1, 8):
        values[...] = generator.normal(size=12)
        network.weight.data[...] = torch.from_numpy(values.reshape(3, 4))
        averaged.update_parameters(network)
        ours.update(step)
        assert_allclose(average.reshape(3, 4), averaged.module.state_dict()["weight"], rtol=1e-9)
