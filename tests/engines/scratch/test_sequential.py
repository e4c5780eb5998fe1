"""One function builds the same network from torch.nn and from the library; both compute the same in float64."""

from typing import Any

import numpy as np
import pytest
import torch

from stages.engines.scratch import nn
from stages.engines.scratch.layers import Array
from stages.engines.scratch.parallel import Shard
from tests.engines.scratch.against_torch import assert_close

RUNNING = ("running_mean", "running_var")


def build_layers(library: Any) -> list[Any]:
    """A network with every kind of layer but dropout, in which the first and the last layer have no parameters."""
    return [
        library.ReLU(),
        library.Conv2d(1, 3, 5, bias=False),
        library.MaxPool2d(2),
        library.BatchNorm2d(3),
        library.LeakyReLU(0.2),
        library.Conv2d(3, 4, (3, 2), stride=2, padding=(1, 0)),
        library.GELU(),
        library.Flatten(),
        library.Linear(12, 6, bias=False),
        library.BatchNorm1d(6),
        library.Tanh(),
        library.Linear(6, 5),
        library.Sigmoid(),
    ]


def equal_networks() -> tuple[nn.Sequential, torch.nn.Sequential]:
    """Both libraries' network with the same random parameters, in float64."""
    ours, theirs = nn.Sequential(*build_layers(nn), dtype=np.float64), torch.nn.Sequential(*build_layers(torch.nn))
    theirs.double()
    ours.load_state_dict(torch_state(theirs))
    return ours, theirs


def torch_state(network: torch.nn.Sequential) -> dict[str, np.ndarray[Any, Any]]:
    """Torch's state dict without batch normalization's count of batches, which nothing uses."""
    return {name: tensor.numpy() for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def test_the_same_network_from_the_same_builder_computes_the_same_as_torch() -> None:
    """Outputs and gradients in training, running statistics, and outputs at inference."""
    generator = np.random.default_rng(0)
    ours, theirs = equal_networks()
    assert list(ours.state_dict()) == list(torch_state(theirs))
    for _ in range(3):
        images = generator.normal(size=(7, 1, 14, 10))
        outputs, torch_outputs = ours.forward(images), theirs(torch.from_numpy(images))
        assert_close(outputs, torch_outputs)
        grad_output = generator.normal(size=outputs.shape)
        ours.gradients[...] = np.nan
        ours.backward(grad_output)
        theirs.zero_grad()
        torch_outputs.backward(torch.from_numpy(grad_output))
        for layer, module in zip(ours, theirs, strict=True):
            for name, parameter in module.named_parameters():
                assert parameter.grad is not None
                assert_close(layer.gradients[name], parameter.grad)
    for name, array in torch_state(theirs).items():
        assert_close(ours.state_dict()[name], torch.from_numpy(array))
    assert_close(ours.eval().forward(images), theirs.eval()(torch.from_numpy(images)))
    assert_close(ours.train().forward(images), theirs.train()(torch.from_numpy(images)))


def test_flat_vectors_hold_every_array_in_the_order_of_the_state_dict() -> None:
    network = nn.Sequential(*build_layers(nn))
    network.parameters[...] = np.arange(network.parameters.size)
    network.buffers[...] = np.arange(network.buffers.size)
    state = network.state_dict()
    parameters = [array.ravel() for name, array in state.items() if not name.endswith(RUNNING)]
    buffers = [array.ravel() for name, array in state.items() if name.endswith(RUNNING)]
    assert (np.concatenate(parameters) == network.parameters).all()
    assert (np.concatenate(buffers) == network.buffers).all()
    assert network.gradients.shape == network.parameters.shape
    assert all(np.shares_memory(array, network.gradients) for layer in network for array in layer.gradients.values())


def test_initial_parameters_are_zero_but_for_batch_norms_scale_and_variance() -> None:
    network = nn.Sequential(*build_layers(nn))
    ones = {"3.weight", "3.running_var", "9.weight", "9.running_var"}
    assert {name for name, array in network.state_dict().items() if (array == 1).all()} == ones
    assert all((array == 0).all() for name, array in network.state_dict().items() if name not in ones)
    network.parameters[...] = network.buffers[...] = 5
    network.reset_parameters()
    assert {name for name, array in network.state_dict().items() if (array == 1).all()} == ones


def test_tied_networks_have_one_set_of_parameters_and_buffers_but_their_own_gradients() -> None:
    first, second = nn.Sequential(*build_layers(nn)), nn.Sequential(*build_layers(nn))
    second.tie_parameters(first)
    first.parameters[...], first.buffers[...], first.gradients[...] = 2, 3, 4
    assert (second.parameters == 2).all()
    assert (second.buffers == 3).all()
    assert (second.gradients == 0).all()
    assert all((array == first.state_dict()[name]).all() for name, array in second.state_dict().items())


@pytest.mark.parametrize("change", [{"1.weight": np.zeros((3, 1, 5, 4))}, {"0.weight": np.zeros(3)}])
def test_a_state_dict_of_another_network_is_rejected_and_nothing_loaded(change: dict[str, Any]) -> None:
    network = nn.Sequential(*build_layers(nn))
    state = {name: array + 1 for name, array in network.state_dict().items()}
    nn.check_state_dict(state, build_layers(nn))
    with pytest.raises(ValueError, match="do not fit the network"):
        nn.check_state_dict(state | change, build_layers(nn))
    with pytest.raises(ValueError, match="do not fit the network"):
        network.load_state_dict(state | change)
    del state["11.bias"]
    with pytest.raises(ValueError, match="do not fit the network"):
        network.load_state_dict(state)
    assert not network.state_dict()["11.bias"].any()


def test_layers_are_reached_by_index_and_iteration() -> None:
    layers = build_layers(nn)
    network = nn.Sequential(*layers)
    assert list(network) == layers == [network[index] for index in range(len(network))]
    assert network[-1] is layers[-1]


def test_modes_shards_and_the_default_dtype_reach_every_layer() -> None:
    network, shard = nn.Sequential(*build_layers(nn)), Shard(slice(2, 4))
    assert all(layer.training for layer in network)
    assert network.eval() is network
    assert not any(layer.training for layer in network)
    assert network.train() is network
    assert all(layer.training for layer in network)
    assert network.train(False) is network
    assert not any(layer.training for layer in network)
    network.set_shard(shard)
    assert all(layer.shard is shard for layer in network)
    assert {vector.dtype for vector in (network.parameters, network.gradients, network.buffers)} == {
        np.dtype(np.float32)
    }
    assert all(array.dtype == np.float32 for array in network.state_dict().values())


def test_backward_ends_at_the_first_trainable_layer_and_needs_none() -> None:
    class Unneeded(nn.Linear):
        def backward_input(self, grad_output: Array) -> Array:
            raise AssertionError(grad_output)

    network = nn.Sequential(nn.ReLU(), Unneeded(3, 2), nn.ReLU(), nn.Linear(2, 2), dtype=np.float64)
    network.backward(network.forward(np.ones((4, 3))))
    plain = nn.Sequential(nn.ReLU())
    plain.backward(plain.forward(np.ones((4, 3))))
    assert plain.gradients.size == 0
