"""What a sweep found: a line for each trial, the best ten, a table of all, and a figure."""

import json
import statistics
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from matplotlib import pyplot, style
from optuna.trial import FrozenTrial, TrialState

from stages.evaluation.figures.style import STYLE, WIDTH, to_png
from stages.pipeline.files import write_bytes, write_csv
from stages.tools.commands import setting

BEST = 10
OBJECTIVE = "validation accuracy"
RANKED = (TrialState.COMPLETE, TrialState.PRUNED)
HEADER = (
    f"{'trial':>5}  {'state':9}  {'epochs':>6}  {'accuracy':>8}  {'std':>6}  {'seconds':>7}  {'machine':22}  config"
)
STATES = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}


def format_row(trial: FrozenTrial) -> str:
    """A trial's line under HEADER. The accuracy is that of validation images, a mean over the seeds."""
    accuracies, seconds = accuracies_of(trial), seconds_of(trial)
    mean = f"{statistics.mean(accuracies):.2%}" if accuracies else ""
    std = f"{statistics.stdev(accuracies):.2%}" if len(accuracies) > 1 else ""
    machine, reason = (str(trial.user_attrs.get(name, "")) for name in ("machine", "reason"))
    config = " ".join(setting(key, value) for key, value in overrides_of(trial).items())
    return (
        f"{trial.number:5}  {STATES[trial.state]:9}  {len(trial.intermediate_values):6}  {mean:>8}  {std:>6}  "
        f"{seconds:7.1f}  {machine:22}  {config}{f': {reason}' if reason else ''}"
    )


def seconds_of(trial: FrozenTrial) -> float:
    """From its beginning to its end, or to now."""
    seconds: float = ((trial.datetime_complete or datetime.now()) - trial.datetime_start).total_seconds()
    return seconds


def accuracies_of(trial: FrozenTrial) -> list[float]:
    """The best validation accuracy of each seed so far."""
    return list(trial.user_attrs.get("accuracies", []))


def overrides_of(trial: FrozenTrial) -> dict[str, Any]:
    """What the trial was trained with in place of params.yaml's values."""
    return dict(trial.user_attrs.get("overrides", {}))


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Up to ten: those that ran to their end before those that did not, then by mean accuracy, then by number."""
    measured = [trial for trial in study.get_trials(deepcopy=False) if trial.state in RANKED and accuracies_of(trial)]
    return sorted(measured, key=lambda trial: (*_rank(trial), trial.number))[:BEST]


def _rank(trial: FrozenTrial) -> tuple[bool, float]:
    return trial.state != TrialState.COMPLETE, -statistics.mean(accuracies_of(trial))


def write_table(path: Path, study: optuna.Study, seeds: Sequence[int]) -> None:
    """Write every trial: its state, epochs, each seed's accuracy, and its config as JSON."""
    columns = ["trial", "state", "epochs", *(f"seed_{seed}" for seed in seeds), "config"]
    rows: list[list[object]] = []
    for trial in study.get_trials(deepcopy=False):
        accuracies: list[object] = list(accuracies_of(trial)) or [""] * len(seeds)
        config = json.dumps(overrides_of(trial))
        rows.append([trial.number, STATES[trial.state], len(trial.intermediate_values), *accuracies, config])
    write_csv(path, columns, rows)


def write_figure(path: Path, study: optuna.Study) -> None:
    """Draw every trial that ran to its end as a line through its values, with an axis for each searched key."""
    spines: dict[str, Any] = {"axes.spines.right": True, "axes.labelsize": 10}
    # Optuna calls its plots experimental, and Matplotlib complains of an axis on which all trials agree.
    with style.context([*STYLE, spines]), warnings.catch_warnings(action="ignore"):
        axes = optuna.visualization.matplotlib.plot_parallel_coordinate(study, target_name=OBJECTIVE)
        figure = axes.get_figure()
        keys = sorted(study.best_trial.params)  # Optuna's order; it shortens their names
        labels = [OBJECTIVE.replace(" ", "\n"), *(key.replace(".", ".\n") for key in keys)]
        axes.set_xticks(range(len(labels)), labels, rotation=0)
        figure.set_size_inches(max(WIDTH, 1.5 * (len(keys) + 2)), 4.5)
        axes.set_title("The trials that ran to their end", y=1.03)
        write_bytes(path, to_png(figure))
        pyplot.close(figure)
