"""Initial weights have the scale that the papers derive, which is that of torch.nn.init."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.engines.scratch import init
from tests.imports import imported

INITIALIZERS: list[tuple[str, dict[str, Any]]] = [
    ("xavier_uniform_", {}),
    ("xavier_normal_", {"gain": 1.7}),
    ("kaiming_uniform_", {"nonlinearity": "relu"}),
    ("kaiming_uniform_", {"a": 0.3, "mode": "fan_out"}),
    ("kaiming_normal_", {"nonlinearity": "relu", "a": 0.3}),
    ("kaiming_normal_", {}),
]
initializers = pytest.mark.parametrize(("name", "options"), INITIALIZERS)


@pytest.mark.parametrize("shape", [(400, 500), (80, 100, 5, 5)], ids=["dense", "convolution"])
@initializers
def test_weights_have_the_same_distribution_as_torchs(
    name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Compare quantiles of 200,000 weights; their standard error is under 0.4 % of the standard deviation."""
    ours = getattr(init, name)(np.empty(shape), **options, generator=np.random.default_rng(0))
    weight = torch.empty(shape, dtype=torch.float64)
    theirs = getattr(torch.nn.init, name)(weight, **options, generator=torch.Generator().manual_seed(0)).numpy()
    points = np.linspace(0.02, 0.98, 25)
    np.testing.assert_allclose(np.quantile(ours, points), np.quantile(theirs, points), atol=0.02 * theirs.std())


@pytest.mark.parametrize("shape", [(30, 50), (8, 3, 5, 4)], ids=["dense", "convolution"])
@initializers
def test_the_scale_is_torchs_to_the_last_digits(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Either library scales the same seed's draws from U(−1, 1) or N(0, 1)."""
    ours, unit = np.empty(shape), np.random.default_rng(0)
    getattr(init, name)(ours, **options, generator=np.random.default_rng(0))
    theirs, torch_unit = torch.empty((2, *shape), dtype=torch.float64)
    getattr(torch.nn.init, name)(theirs, **options, generator=torch.Generator().manual_seed(0))
    torch_generator = torch.Generator().manual_seed(0)
    if "uniform" in name:
        draws, torch_unit = unit.uniform(-1, 1, shape), torch_unit.uniform_(-1, 1, generator=torch_generator)
    else:
        draws, torch_unit = unit.normal(0, 1, shape), torch_unit.normal_(0, 1, generator=torch_generator)
    scale = ours / draws
    np.testing.assert_allclose(scale, scale.mean(), rtol=1e-9)
    assert scale.mean() == pytest.approx(float(theirs.norm() / torch_unit.norm()), rel=1e-9)


def test_a_tensor_is_filled_in_place_with_the_float64_draws_cast_to_its_dtype() -> None:
    tensor = np.empty((3, 4), np.float32)
    assert init.kaiming_normal_(tensor, generator=np.random.default_rng(0)) is tensor
    expected = init.kaiming_normal_(np.empty((3, 4)), generator=np.random.default_rng(0))
    assert (tensor == expected.astype(np.float32)).all()


@pytest.mark.parametrize("name", ["xavier_uniform_", "kaiming_normal_"])
def test_without_a_generator_every_call_draws_anew(name: str) -> None:
    first, second = (getattr(init, name)(np.empty((30, 50))) for _ in range(2))
    assert (first != second).all()
    assert first.std() == pytest.approx(second.std(), rel=0.2)


@pytest.mark.parametrize("options", [{"nonlinearity": "tanh"}, {"mode": "fan_average"}])
def test_an_unknown_mode_or_nonlinearity_is_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        init.kaiming_uniform_(np.empty((3, 4)), **options)


def test_initial_weights_need_no_other_module_of_the_library() -> None:
    assert not [name for name in imported(Path("stages/engines/scratch/init.py")) if name.startswith("stages")]
