"""The table of trials that a log can hold."""

import time
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from stages.tools.sweep.rows import Rows
from stages.tools.sweep.search import Running
from tests.tools.sweep.test_space import PARAMS, space

DIMENSIONS: dict[str, Any] = {
    "optimizer.learning_rate": {"low": 1e-6, "high": 0.1, "log": True},
    "network.hidden_sizes": [[16], [256, 128, 64]],
    "network.activation": ["relu", "leaky_relu"],
}
OVERRIDES = {
    "optimizer.learning_rate": 1.234e-05,
    "network.hidden_sizes": [256, 128, 64],
    "network.activation": "leaky_relu",
}
ACCURACIES = [0.97, 0.98]


@pytest.mark.parametrize("attributes", [{}, {"overrides": OVERRIDES, "accuracies": ACCURACIES}])
def test_every_cell_stands_under_its_key(attributes: dict[str, Any]) -> None:
    rows = Rows(space(DIMENSIONS))
    attributes |= {"machine": "10.0.0.1/abcdef", "reason": "training diverged"}
    trial = optuna.trial.create_trial(
        state=TrialState.FAIL, user_attrs=attributes, intermediate_values={1: 0.9, 2: 0.9}
    )
    row = rows.row(trial)
    starts = [rows.header.index(name) for name in ("learning_rate", "hidden_sizes", "activation", "machine")]
    cells = [row[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
    expected = ["1.234e-05", "[256,128,64]", "leaky_relu"] if attributes.get("overrides") else [""] * 3
    assert cells == [*expected, "10.0.0.1/abcdef         training diverged"]
    numbers = row[: starts[0]].split()
    assert numbers[1:3] == ["failed", "2"]
    assert numbers[3:-1] == (["97.50%", "0.71%"] if attributes.get("accuracies") else [])


def test_no_two_keys_have_the_same_last_part() -> None:
    config = PARAMS.engine("torch").model_dump()
    keys = [key for section, content in config.items() for key in (content if isinstance(content, dict) else [section])]
    assert len(set(keys)) == len(keys) > 20


def test_a_long_trial_is_shown_after_1_2_4_8_minutes() -> None:
    trial = optuna.create_study().ask()
    running = Running(trial, PARAMS.engine("scratch"))
    shown = []
    for minute in range(1, 11):
        running.began = time.monotonic() - 60 * minute - 1
        if running.is_row_due():
            shown.append(minute)
    assert shown == [1, 2, 4, 8]
