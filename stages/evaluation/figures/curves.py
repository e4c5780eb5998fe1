"""Learning curves: loss, accuracy and learning rate by epoch."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from stages.evaluation.figures.style import WIDTH, engine_colors
from stages.pipeline.history import EpochMetrics, best_epoch

TRAINING: dict[str, Any] = {"linestyle": "--", "marker": "."}
VALIDATION: dict[str, Any] = {"linestyle": "-", "marker": "."}
KEPT: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 11, "markerfacecolor": "none"}


def draw(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw each engine's history.csv; a ring marks the epoch whose weights were kept."""
    figure = Figure(figsize=(WIDTH, 5.4))
    axes = figure.subplot_mosaic([["loss", "accuracy"], ["learning rate", "learning rate"]], height_ratios=[3, 1])
    colors = engine_colors(histories)
    for engine, history in histories.items():
        color, kept = colors[engine], kept_epoch(history)
        for measure in ("loss", "accuracy"):
            axes[measure].plot(history["epoch"], history[f"train_{measure}"], color=color, **TRAINING)
            axes[measure].plot(history["epoch"], history[f"validation_{measure}"], color=color, **VALIDATION)
            axes[measure].plot(kept["epoch"], kept[f"validation_{measure}"], color=color, **KEPT)
    schedules = distinct_schedules(histories)
    for engines in schedules:
        schedule, color = histories[engines[0]], colors[engines[0]] if len(engines) == 1 else "0.3"
        axes["learning rate"].plot(schedule["epoch"], schedule["learning_rate"], ".-", color=color)
    longest = max(history["epoch"].max() for history in histories.values())
    for measure, axis in axes.items():
        axis.set(title=measure.capitalize(), xlabel="epoch", xlim=(0.5, longest + 0.5))
        axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        axis.grid()
    shared = [f"the same for {' and '.join(engines)}" for engines in schedules if len(engines) > 1]
    axes["learning rate"].set_title(", ".join(["Learning rate", *shared]))
    axes["accuracy"].yaxis.set_major_formatter(PercentFormatter(1))
    lines = [Line2D([], [], color=colors[engine], linewidth=3, label=engine) for engine in histories]
    kinds = {"training": TRAINING, "validation": VALIDATION, "kept epoch": KEPT}
    lines += [Line2D([], [], color="0.3", label=label, **kind) for label, kind in kinds.items()]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines))
    figure.suptitle("Learning curves, measured at the end of each epoch")
    return figure


def distinct_schedules(histories: Mapping[str, pd.DataFrame]) -> list[list[str]]:
    """The engines in groups of equal learning rates: one line in gray shows more than lines on top of each other."""
    groups: dict[bytes, list[str]] = {}
    for engine, history in histories.items():
        groups.setdefault(history[["epoch", "learning_rate"]].to_numpy().tobytes(), []).append(engine)
    return list(groups.values())


def kept_epoch(history: pd.DataFrame) -> pd.DataFrame:
    """The row of the epoch that training kept."""
    kept = best_epoch([EpochMetrics(*row) for row in history.itertuples(index=False)])
    return history[history["epoch"] == kept.epoch]
