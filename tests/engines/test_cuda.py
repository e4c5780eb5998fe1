"""On a GPU, where there is one: the same bytes in every run, in float32."""

from collections.abc import Iterator

import pytest
import torch

from stages.engines.config import NetworkConfig, TorchConfig
from stages.engines.torch_engine import TorchClassifier, make
from stages.pipeline.classifier import UNSTANDARDIZED
from stages.pipeline.rng import spawn_generators
from tests.benchmarks.task import random_split

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(autouse=True)
def other_tests_may_use_any_algorithm() -> Iterator[None]:
    """What the engine sets holds for a whole process; the rest of it changes nothing on the CPU."""
    yield
    torch.use_deterministic_algorithms(False)


NETWORKS = {
    "dense": NetworkConfig(hidden_sizes=[512, 256], batch_norm=True, dropout=0.2),
    "convolutional": NetworkConfig(channels=[16, 32], hidden_sizes=[128], batch_norm=True, dropout=0.2),
}


def trained(network: NetworkConfig) -> TorchClassifier:
    config = TorchConfig(network=network, device="cuda")
    classifier = make(config, spawn_generators(1), UNSTANDARDIZED, "float32")
    split = random_split(64)
    for _ in range(100):
        classifier.train_batch(split.images, split.labels, 0.01)
    return classifier


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_two_trainings_give_the_same_bytes(network: NetworkConfig) -> None:
    first, second = trained(network), trained(network)
    assert first.to_bytes() == second.to_bytes()
    images = random_split(1000).images
    assert first.predict(images).tobytes() == second.predict(images).tobytes()


def test_convolutions_and_matrix_products_are_in_float32() -> None:
    """Not in TF32, whose 10 bits of mantissa would show as 1e-3."""
    trained(NETWORKS["convolutional"])
    assert torch.are_deterministic_algorithms_enabled()
    generator = torch.Generator().manual_seed(0)
    images, weight = (torch.randn(shape, generator=generator) for shape in ((8, 16, 12, 12), (32, 16, 5, 5)))
    left, right = (torch.randn(256, 256, generator=generator) for _ in range(2))
    for exact, on_gpu in (
        (torch.conv2d(images.double(), weight.double()), torch.conv2d(images.cuda(), weight.cuda())),
        (left.double() @ right.double(), left.cuda() @ right.cuda()),
    ):
        error = (on_gpu.cpu().double() - exact).norm() / exact.norm()
        assert error < 1e-6


def test_training_goes_on_with_the_dropout_masks_of_the_gpu_and_not_on_the_cpu() -> None:
    split, classifier = random_split(64), trained(NETWORKS["dense"])
    state = classifier.training_state()
    losses = [classifier.train_batch(split.images, split.labels, 0.01) for _ in range(3)]
    classifier.load_training_state(state)
    assert [classifier.train_batch(split.images, split.labels, 0.01) for _ in range(3)] == losses
    with pytest.raises(ValueError, match=r"'generator\.device' must be absent"):
        TorchClassifier(classifier.config).load_training_state(state)
