"""The trials as a table that a log can hold: a line for each, as it ends."""

import json
import statistics
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial

from stages.tools.sweep.results import STATES, accuracies_of, overrides_of
from stages.tools.sweep.space import Range, Space

COLUMNS = f"{'trial':>5}  {'state':8}  {'epochs':>6}  {'accuracy':>8}  {'std':>6}  {'seconds':>7}"
FLOAT_WIDTH = len("1.234e-05")  # as a sampled value is rounded
MACHINE_WIDTH = len("255.255.255.255/abcdef")


class Rows:
    """The columns of one space, each key by its last part, which tells it from the others."""

    def __init__(self, space: Space) -> None:
        names = {key: key.rpartition(".")[2] for key in space.dimensions}
        self._widths = {key: max(len(names[key]), _width(each)) for key, each in space.dimensions.items()}
        cells = [f"{names[key]:{width}}" for key, width in self._widths.items()]
        self.header = "  ".join([COLUMNS, *cells, "machine"])

    def row(self, trial: FrozenTrial) -> str:
        """A trial's line. The accuracy is that of validation images, a mean over the seeds."""
        accuracies, overrides = accuracies_of(trial), overrides_of(trial)
        mean = f"{statistics.mean(accuracies):.2%}" if accuracies else ""
        std = f"{statistics.stdev(accuracies):.2%}" if len(accuracies) > 1 else ""
        machine, reason = (str(trial.user_attrs.get(name, "")) for name in ("machine", "reason"))
        cells = [
            f"{trial.number:5}  {STATES[trial.state]:8}  {len(trial.intermediate_values):6}  {mean:>8}  {std:>6}",
            f"{_seconds(trial):7.1f}",
            *(f"{_text(overrides[key]) if key in overrides else '':{width}}" for key, width in self._widths.items()),
            f"{machine:{MACHINE_WIDTH}}  {reason}" if reason else machine,
        ]
        return "  ".join(cells).rstrip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _width(dimension: list[Any] | Range) -> int:
    return FLOAT_WIDTH if isinstance(dimension, Range) else max(len(_text(choice)) for choice in dimension)


def _seconds(trial: FrozenTrial) -> float:
    """From its beginning to its end, or to now."""
    seconds: float = ((trial.datetime_complete or datetime.now()) - trial.datetime_start).total_seconds()
    return seconds
