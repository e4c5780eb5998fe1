"""What a sweep found: the best ten trials, a table of all, and a figure."""

import json
import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib import pyplot, style
from matplotlib.colors import ListedColormap
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter
from optuna.trial import FrozenTrial, TrialState

from stages.evaluation.figures.style import STYLE, WIDTH, to_png
from stages.pipeline.files import write_bytes, write_csv

BEST = 10
OBJECTIVE = "validation accuracy"
RANKED = (TrialState.COMPLETE, TrialState.PRUNED)
STATES = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}


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
    """Write every trial: its state, epochs, each seed's accuracy, its config as JSON, and why it failed."""
    columns = ["trial", "state", "epochs", *(f"seed_{seed}" for seed in seeds), "config", "reason"]
    rows: list[list[object]] = []
    for trial in study.get_trials(deepcopy=False):
        accuracies: list[object] = list(accuracies_of(trial)) or [""] * len(seeds)
        config, reason = json.dumps(overrides_of(trial)), trial.user_attrs.get("reason", "")
        rows.append([trial.number, STATES[trial.state], len(trial.intermediate_values), *accuracies, config, reason])
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
        axes.set_title("The trials that ran to their end", y=1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        (lines,) = axes.collections
        lines.set_cmap(ListedColormap(pyplot.get_cmap("Blues")(np.linspace(0.3, 1, 256))))  # of which the rest is pale
        lines.colorbar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        for label in (label for each in figure.axes for label in each.get_yticklabels("both")):
            label.set_path_effects([withStroke(linewidth=3, foreground="white")])  # where lines cross it
        figure.set_size_inches(max(WIDTH, 1.5 * (len(keys) + 2)), 4.5)
        write_bytes(path, to_png(figure))
        pyplot.close(figure)
