"""Initial weights have the spread that the papers derive, which is that of torch's initialisers."""

import numpy as np
import pytest
import torch

from stages.engines.scratch.initializers import INITIALIZERS
from stages.engines.torch_engine import INITIALIZERS as TORCH_INITIALIZERS


@pytest.mark.parametrize("shape", [(400, 500), (80, 100, 5, 5)], ids=["dense", "convolution"])
@pytest.mark.parametrize("name", TORCH_INITIALIZERS)
def test_the_same_distribution_as_torch(name: str, shape: tuple[int, ...]) -> None:
    """Compare the quantiles of 200,000 weights; their standard error is under 0.4 % of the deviation."""
    ours = INITIALIZERS[name](np.random.default_rng(0), shape)
    weight = torch.empty(shape, dtype=torch.float64)
    theirs = TORCH_INITIALIZERS[name](weight, generator=torch.Generator().manual_seed(0)).numpy()
    assert ours.shape == theirs.shape
    points = np.linspace(0.02, 0.98, 25)
    np.testing.assert_allclose(np.quantile(ours, points), np.quantile(theirs, points), atol=0.02 * theirs.std())


@pytest.mark.parametrize("shape", [(30, 50), (8, 3, 5, 4)], ids=["dense", "convolution"])
@pytest.mark.parametrize("name", TORCH_INITIALIZERS)
def test_the_scale_is_torchs_to_the_last_digits(name: str, shape: tuple[int, ...]) -> None:
    """Either is the same seed's numbers between -1 and 1, or of deviation 1, times its scale."""
    ours, unit = INITIALIZERS[name](np.random.default_rng(0), shape), np.random.default_rng(0)
    theirs = torch.empty(shape, dtype=torch.float64)
    TORCH_INITIALIZERS[name](theirs, generator=torch.Generator().manual_seed(0))
    torch_unit, torch_generator = torch.empty(shape, dtype=torch.float64), torch.Generator().manual_seed(0)
    if "uniform" in name:
        draws, torch_unit = unit.uniform(-1, 1, shape), torch_unit.uniform_(-1, 1, generator=torch_generator)
    else:
        draws, torch_unit = unit.normal(0, 1, shape), torch_unit.normal_(0, 1, generator=torch_generator)
    scale, torch_scale = np.linalg.norm(ours) / np.linalg.norm(draws), float(theirs.norm() / torch_unit.norm())
    assert scale == pytest.approx(torch_scale, rel=1e-9)


def test_every_name_is_known_to_both_engines() -> None:
    assert INITIALIZERS.keys() == TORCH_INITIALIZERS.keys()
