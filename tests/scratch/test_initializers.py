"""Initial weights have the spread that the papers derive, which is that of torch's initialisers."""

import numpy as np
import pytest
import torch

from stages.scratch.initializers import INITIALIZERS
from stages.torch_engine.classifier import INITIALIZERS as TORCH_INITIALIZERS


@pytest.mark.parametrize("name", TORCH_INITIALIZERS)
def test_the_same_distribution_as_torch(name: str) -> None:
    """Compare the quantiles of 200,000 weights; their standard error is under 0.4 % of the deviation."""
    ours = INITIALIZERS[name](np.random.default_rng(0), 400, 500)
    weight = torch.empty(400, 500, dtype=torch.float64)
    theirs = TORCH_INITIALIZERS[name](weight, generator=torch.Generator().manual_seed(0)).numpy()
    assert ours.shape == theirs.shape
    points = np.linspace(0.02, 0.98, 25)
    np.testing.assert_allclose(np.quantile(ours, points), np.quantile(theirs, points), atol=0.02 * theirs.std())


def test_every_name_is_known_to_both_engines() -> None:
    assert INITIALIZERS.keys() == TORCH_INITIALIZERS.keys()
