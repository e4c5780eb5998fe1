"""How well each class is recognised."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from stages.evaluation.confusion import Counts
from stages.evaluation.figures.style import WIDTH, engine_colours
from stages.evaluation.statistics import wilson_interval
from stages.pipeline.classifier import CLASSES


def draw(counts: Mapping[str, Counts]) -> Figure:
    """Draw accuracies with their intervals from each engine's confusion counts; a class without digits stays empty."""
    figure = Figure(figsize=(WIDTH, 4.2))
    axis = figure.subplots()
    colours = engine_colours(counts)
    offsets = min(0.26, 0.8 / len(counts)) * (np.arange(len(counts)) - (len(counts) - 1) / 2)
    for (engine, matrix), offset in zip(counts.items(), offsets, strict=True):
        totals = np.append(matrix.sum(axis=1), matrix.sum())
        correct = np.append(matrix.diagonal(), matrix.trace())
        shown = np.flatnonzero(totals)
        intervals = [wilson_interval(int(correct[place]), int(totals[place])) for place in shown]
        colour = colours[engine]
        axis.vlines(shown + offset, *zip(*intervals, strict=True), color=colour, linewidth=2.5, alpha=0.5)
        axis.plot(shown + offset, correct[shown] / totals[shown], "o", color=colour, label=engine)
    names = [*map(str, range(CLASSES)), "all"]
    labels = [f"{name}\n{total:,}" for name, total in zip(names, totals, strict=True)]
    axis.set_xticks(range(CLASSES + 1), labels)
    axis.set(xlabel="class, and its number of test digits", xlim=(-0.5, CLASSES + 0.5))
    axis.axvline(CLASSES - 0.5, color="0.8", linewidth=1)
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.grid(axis="y")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(counts), borderaxespad=0.2)
    figure.suptitle("Accuracy by class, with 95 % Wilson intervals")
    return figure
