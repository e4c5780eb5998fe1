"""Parity: the same network trained in both engines, and how far apart their losses are."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.evaluation.figures.style import ENGINE_COLORS

DTYPES = {"float32": "0.1", "float64": "0.5"}  # and the gray of its line
COLUMNS = ("step", *(f"{engine}_{dtype}" for dtype in DTYPES for engine in ENGINE_COLORS))
SIZE, DPI = (6, 6), 240  # as wide in pixels as the other figures, with larger type: it is read on phones too
FLOOR = 1e-17  # where a difference of 0 is drawn on the log scale


def draw(table: pd.DataFrame) -> Figure:
    """Draw the training loss of each step in float32, and below it the relative difference for each dtype.

    ``table`` has the ``COLUMNS``: ``step``, and the loss at that step, ``ENGINE_DTYPE``.
    """
    figure = Figure(figsize=SIZE, dpi=DPI)
    losses, differences = figure.subplots(2, 1, sharex=True, height_ratios=[4, 5])
    draw_losses(losses, table)
    draw_differences(differences, table)
    for axis in (losses, differences):
        axis.grid()
    differences.set(xlabel="training step", xlim=(table["step"].min(), table["step"].max()))
    figure.suptitle("The same network in both engines:\nlosses and their difference")
    return figure


def draw_losses(axis: Axes, table: pd.DataFrame) -> None:
    """Draw both float32 losses: torch as a wide pale line, scratch as a thin one on top, so that both show."""
    axis.plot(
        table["step"], table["torch_float32"], color=ENGINE_COLORS["torch"], linewidth=6, alpha=0.35, label="torch"
    )
    axis.plot(table["step"], table["scratch_float32"], color=ENGINE_COLORS["scratch"], linewidth=1, label="scratch")
    axis.set(title="Training loss, float32", ylim=(0, None))
    axis.legend(loc="upper right")


def draw_differences(axis: Axes, table: pd.DataFrame) -> None:
    """Draw |scratch − torch| / torch for each dtype, with its machine epsilon as a dotted line."""
    highest = 0.0
    for dtype, gray in DTYPES.items():
        torch, scratch = table[f"torch_{dtype}"], table[f"scratch_{dtype}"]
        difference = np.maximum(np.abs(scratch - torch) / torch, FLOOR)
        axis.plot(table["step"], difference, ".", color=gray, markersize=3, label=dtype)
        axis.axhline(float(np.finfo(dtype).eps), color=gray, linestyle=":", label=f"machine epsilon of {dtype}")
        highest = max(highest, difference.max())
    decades = range(-15, math.ceil(math.log10(highest)) + 1, 2)
    axis.set(title="Relative difference of the losses", yscale="log", ylim=(FLOOR / 2, None))
    axis.set_yticks(
        [FLOOR, *(10.0**decade for decade in decades)], ["0", *(f"$10^{{{decade}}}$" for decade in decades)]
    )
    axis.minorticks_off()
    axis.legend(loc="center", ncols=2, markerscale=3)  # where no difference lies, between the two dtypes
