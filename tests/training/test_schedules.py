"""Every schedule against its definition, which for most is a scheduler of torch's."""

from typing import Any

import numpy as np
import pytest
import torch
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
