"""Every schedule against its definition, which for most is a scheduler of torch's."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from stages.engines.config import EngineConfig
from stages.training.schedules import make_schedule
from tests.configs import make_config

STEPS, EPOCHS = 7, 6
TOTAL = STEPS * EPOCHS


def config(**options: Any) -> EngineConfig:
    return make_config(learning_rate=0.3, epochs=EPOCHS, **options)


def rates(config: EngineConfig) -> list[float]:
    schedule = make_schedule(config, STEPS)
    return [schedule(step) for step in range(TOTAL)]


def torch_rates(make: type[lr_scheduler.LRScheduler], *arguments: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = make(optimizer, *arguments)
    seen = []
    for _ in range(TOTAL):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


@given(
    epochs=st.integers(1, 12),
    steps=st.integers(1, 9),
    maximum=st.floats(1e-6, 10),
    fraction=st.floats(0, 1),
    step_size=st.integers(1, 13),
    gamma=st.floats(0.01, 1),
)
def test_every_step_of_every_schedule_for_any_length(
    epochs: int, steps: int, maximum: float, fraction: float, step_size: int, gamma: float
) -> None:
    """Counted from 0, over the config's own epochs."""
    total = epochs * steps
    warmup = round(fraction * total)
    options = {"epochs": epochs, "learning_rate": maximum, "warmup_fraction": fraction}
    options |= {"step_size": step_size, "gamma": gamma}
    constant, step_decay, falling, cycle = (
        make_schedule(make_config(**options, schedule=name), steps)
        for name in ("constant", "step", "cosine", "one_cycle")
    )
    ours = np.array([[schedule(step) for step in range(total)] for schedule in (constant, step_decay, falling, cycle)])
    expected = np.empty((4, total))
    for step in range(total):
        annealed = (step - warmup) / max(total - warmup, 1)
        expected[:, step] = (
            maximum,
            maximum * gamma ** (step // steps // step_size),
            maximum * np.cos(np.pi / 2 * step / total) ** 2,  # half of 1 + cos
            maximum * ((step + 1) / warmup if step < warmup else np.cos(np.pi / 2 * annealed) ** 2),
        )
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=maximum * 1e-15)
    assert (ours[0] == maximum).all()
    assert falling(0) == maximum
    assert ours[3].max() == pytest.approx(maximum, rel=1e-12)
    assert ours[3].min() > 0


def test_the_warmup_is_rounded_to_the_nearest_step() -> None:
    for fraction, warmup in ((0.3, 13), (0.25, 10), (0.17, 7), (0.01, 0)):  # of 42: 12.6, 10.5 (to even), 7.1, 0.4
        ours = rates(config(schedule="one_cycle", warmup_fraction=fraction))
        assert sum(np.diff([0.0, *ours]) > 0) == max(warmup, 1)
        assert ours[warmup] == 0.3


def test_constant() -> None:
    assert rates(config(schedule="constant")) == [0.3] * TOTAL


def test_step_is_torchs() -> None:
    ours = rates(config(schedule="step", step_size=2, gamma=0.5))
    np.testing.assert_allclose(ours, torch_rates(lr_scheduler.StepLR, 2 * STEPS, 0.5), rtol=1e-12)


def test_cosine_is_torchs() -> None:
    ours = rates(config(schedule="cosine"))
    np.testing.assert_allclose(ours, torch_rates(lr_scheduler.CosineAnnealingLR, TOTAL), rtol=1e-9)


def test_one_cycle_warms_up_linearly_and_falls_along_torchs_cosine() -> None:
    ours = rates(config(schedule="one_cycle", warmup_fraction=0.25))
    warmup = round(0.25 * TOTAL)
    np.testing.assert_allclose(ours[:warmup], 0.3 * np.arange(1, warmup + 1) / warmup, rtol=1e-12)
    falling = torch_rates(lr_scheduler.CosineAnnealingLR, TOTAL - warmup)[: TOTAL - warmup]
    np.testing.assert_allclose(ours[warmup:], falling, rtol=1e-9)


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_one_cycle_at_its_limits_is_a_cosine_or_a_line(warmup: float) -> None:
    ours = rates(config(schedule="one_cycle", warmup_fraction=warmup))
    line = [0.3 * (step + 1) / TOTAL for step in range(TOTAL)]
    np.testing.assert_allclose(ours, line if warmup else rates(config(schedule="cosine")), rtol=1e-12)
