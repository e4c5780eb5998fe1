"""Every optimizer follows torch.optim over 20 steps in float64, under gradients and learning rates that change."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.optim.swa_utils import AveragedModel

from stages.engines.scratch import optim
from stages.engines.scratch.layers import Array
from stages.engines.scratch.optim import ExponentialMovingAverage, Optimizer, clip_grad_norm_, make_optimizer
from stages.engines.torch_engine import make_ema

NAMES: dict[str, tuple[str, dict[str, Any]]] = {  # in params.yaml, and in torch.optim
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.8}),
    "nesterov": ("SGD", {"momentum": 0.8, "nesterov": True}),
    "rmsprop": ("RMSprop", {}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 8 elements: several of them, and the last a part of one, without vectors of 200,000 elements."""
    monkeypatch.setattr(optim, "BLOCK", 8)


def random_vectors(size: int = 21) -> tuple[Array, Array]:
    """Parameters that are two whole blocks and a part of one, and gradients."""
    parameters = np.random.default_rng(0).normal(size=size)
    return parameters, np.zeros_like(parameters)


def assert_follows_torch(ours: Optimizer, name: str, steps: int = 20, **options: Any) -> None:
    """Compare parameters and state after each step; the gradients stay as they are."""
    generator = np.random.default_rng(1)
    tensor = torch.nn.Parameter(torch.from_numpy(ours.parameters.copy()))
    reference = getattr(torch.optim, name)([tensor], **options)
    assert ours.lr == reference.param_groups[0]["lr"]
    for step in range(steps):
        ours.gradients[...] = generator.normal(size=ours.gradients.size) * 10.0 ** generator.integers(-6, 2)
        given = ours.gradients.copy()
        tensor.grad = torch.from_numpy(given.copy())
        ours.lr = reference.param_groups[0]["lr"] = 0.01 / (1 + step)
        reference.step()
        ours.step()
        if step < 20 or step == steps - 1:
            assert_allclose(ours.parameters, tensor.detach().numpy(), rtol=1e-9, atol=1e-14)
            assert (ours.gradients == given).all()
    factors = dict(zip(("exp_avg", "exp_avg_sq"), (1 - beta for beta in getattr(ours, "betas", ())), strict=False))
    assert ours.steps == steps
    for key, array in ours.state_dict().items():
        expected = reference.state[tensor].get(key)
        assert_allclose(array * factors.get(key, 1), [] if expected is None else expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("name", NAMES)
def test_20_steps_of_each_name_in_params_yaml_follow_torch(name: str, weight_decay: float) -> None:
    ours = make_optimizer(name, *random_vectors(), momentum=0.8, weight_decay=weight_decay)
    torch_name, options = NAMES[name]
    assert_follows_torch(ours, torch_name, **options, weight_decay=weight_decay)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {}),
        ("SGD", {"lr": 0.2, "momentum": 0.7, "weight_decay": 0.1, "nesterov": True}),
        ("RMSprop", {}),
        ("RMSprop", {"lr": 0.2, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
        ("Adam", {}),
        ("Adam", {"lr": 0.2, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
        ("AdamW", {}),
        ("AdamW", {"lr": 0.2, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ],
)
def test_20_steps_with_torchs_defaults_and_with_every_option_follow_torch(name: str, options: dict[str, Any]) -> None:
    assert_follows_torch(getattr(optim, name)(*random_vectors(), **options), name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_1000_steps_follow_torch(name: str) -> None:
    """At step 1000 the bias corrections of 0.9 and 0.999 are nearly all gone, and all but a third."""
    torch_name, options = NAMES[name]
    ours = make_optimizer(name, *random_vectors(3), momentum=0.8, weight_decay=0.1)
    assert_follows_torch(ours, torch_name, steps=1000, **options, weight_decay=0.1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 8, 16])
def test_vectors_smaller_than_a_block_and_of_whole_blocks_follow_torch(name: str, size: int) -> None:
    torch_name, options = NAMES[name]
    ours = make_optimizer(name, *random_vectors(size), momentum=0.8, weight_decay=0.3)
    assert_follows_torch(ours, torch_name, steps=3, **options, weight_decay=0.3)


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_without_momentum_there_is_no_velocity_and_nesterov_is_gradient_descent(name: str) -> None:
    ours = make_optimizer(name, *random_vectors(), momentum=0.0, weight_decay=0.1)
    assert_follows_torch(ours, "SGD", weight_decay=0.1)
    assert ours.state_dict()["momentum_buffer"].size == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_state_dict_holds_views_with_which_another_optimizer_goes_on(name: str) -> None:
    generator = np.random.default_rng(2)
    first, second = (make_optimizer(name, *random_vectors(), momentum=0.8, weight_decay=0.1) for _ in range(2))
    for step in range(6):
        gradients = generator.normal(size=first.gradients.size)
        first.gradients[...] = gradients
        first.step()
        if step == 2:
            second.parameters[...] = first.parameters
            second.steps = first.steps
            for key, array in second.state_dict().items():
                array[...] = first.state_dict()[key]
        elif step > 2:
            second.gradients[...] = gradients
            second.step()
    assert (second.parameters == first.parameters).all()


def test_an_unknown_optimizer_is_rejected() -> None:
    with pytest.raises(KeyError):
        make_optimizer("adagrad", *random_vectors(), momentum=0.9, weight_decay=0.0)


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_float32(name: str) -> None:
    parameters, gradients = np.ones(11, np.float32), np.ones(11, np.float32)
    optimizer = make_optimizer(name, parameters, gradients, momentum=0.8, weight_decay=0.1)
    optimizer.step()
    arrays = [value for value in vars(optimizer).values() if isinstance(value, np.ndarray)]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


@pytest.mark.parametrize("max_norm", [0.5, 3.0, 10 - 1e-6, 10 - 1e-7, 10.0, 10 + 1e-7, 10 + 2e-6, 1e6])
@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_the_gradient_norm_is_clipped_as_torch_does_also_at_and_near_the_limit(max_norm: float, scale: float) -> None:
    gradients = np.random.default_rng(0).normal(size=50)
    gradients *= scale * 10 / np.linalg.norm(gradients)
    tensors = [torch.zeros(20, dtype=torch.float64), torch.zeros(30, dtype=torch.float64)]
    tensors[0].grad, tensors[1].grad = torch.from_numpy(gradients.copy()).tensor_split([20])
    norm = torch.nn.utils.clip_grad_norm_(tensors, max_norm)
    assert clip_grad_norm_(gradients, max_norm) == pytest.approx(float(norm), rel=1e-9, abs=0)
    assert_allclose(gradients, torch.cat([tensor.grad for tensor in tensors if tensor.grad is not None]), rtol=1e-12)


@pytest.mark.parametrize("decay", [0.1, 0.8, 0.999])
def test_the_exponential_moving_average_follows_torch_and_tensorflows_warm_up(decay: float) -> None:
    generator = np.random.default_rng(0)
    network = torch.nn.Linear(4, 3, bias=False).double()
    averaged = AveragedModel(network, multi_avg_fn=make_ema(decay))
    values, average = np.zeros(12), generator.normal(size=12)
    ours = ExponentialMovingAverage(values, average, decay)
    for updates in range(40):
        before = average.copy()
        values[...] = generator.normal(size=12)
        network.weight.data[...] = torch.from_numpy(values.reshape(3, 4))
        averaged.update_parameters(network)
        ours.update(updates + 1)
        assert_allclose(average.reshape(3, 4), averaged.module.state_dict()["weight"], rtol=1e-9)
        kept = min(decay, (1 + updates) / (10 + updates)) if updates else 0
        assert_allclose(average, kept * before + (1 - kept) * values, rtol=1e-9, atol=1e-12)
