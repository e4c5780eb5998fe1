"""What the library exports has PyTorch's names, and takes PyTorch's arguments for everything that it supports."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch

from stages.engines.scratch import init, nn, optim

OWN_PARAMETERS = {
    "Sequential": {"dtype"},  # torch has .to(dtype)
    "clip_grad_norm_": {"gradients"},  # one flat vector in place of torch's tensors
    **{name: {"parameters", "gradients"} for name in ("SGD", "RMSprop", "Adam", "AdamW")},
}
OWN_NAMES = {"Module", "check_state_dict", "init", "BLOCK", "Optimizer", "ExponentialMovingAverage", "make_optimizer"}


def exported(module: Any) -> dict[str, Any]:
    """The public classes and functions of a module that stand for something of torch's."""
    names = getattr(module, "__all__", [name for name, value in vars(module).items() if is_defined_in(value, module)])
    return {name: getattr(module, name) for name in names if name not in OWN_NAMES and not name.startswith("_")}


def is_defined_in(value: object, module: Any) -> bool:
    return callable(value) and getattr(value, "__module__", "") == module.__name__


def counterpart(name: str) -> Any:
    """What torch has under that name, wherever it has it."""
    spaces = (torch.nn, torch.nn.functional, torch.nn.init, torch.optim, torch.nn.utils)
    return next(getattr(space, name) for space in spaces if hasattr(space, name))


@pytest.mark.parametrize(
    ("name", "ours"), [(n, f) for module in (nn, init, optim) for n, f in exported(module).items()]
)
def test_signature_is_part_of_torchs(name: str, ours: Callable[..., Any]) -> None:
    """Names and defaults are the same, and a positional argument means the same in both libraries."""
    parameters = list(inspect.signature(ours).parameters.values())
    parameters = [each for each in parameters if each.name not in OWN_PARAMETERS.get(name, ())]
    theirs = inspect.signature(counterpart(name)).parameters
    order = [each for each in theirs if each not in ("params", "parameters")]
    for position, parameter in enumerate(parameters):
        if name == "log_softmax":  # of logits (N, classes): torch's input, whose dim of None means 1
            continue
        if parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            assert parameter.default == theirs[parameter.name].default
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            assert order[position] == parameter.name


def test_every_layer_loss_optimizer_and_initializer_is_compared() -> None:
    assert exported(nn).keys() | exported(init).keys() | exported(optim).keys() == {
        *(
            "Sequential",
            "Flatten",
            "Linear",
            "Dropout",
            "Conv2d",
            "MaxPool2d",
            "AvgPool2d",
            "BatchNorm1d",
            "BatchNorm2d",
        ),
        *("ReLU", "LeakyReLU", "Sigmoid", "Tanh", "GELU", "CrossEntropyLoss", "log_softmax"),
        *("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"),
        *("SGD", "RMSprop", "Adam", "AdamW", "clip_grad_norm_"),
    }
