"""Whether the networks are right as often as they are sure."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from stages.evaluation.figures.style import engine_colours, width_of
from stages.evaluation.statistics import CalibrationBins, calibration_bins, calibration_error, wilson_interval
from stages.pipeline.classifier import Labels, Probabilities


def draw(probabilities: Mapping[str, Probabilities], labels: Labels) -> Figure:
    """Draw each engine's accuracy against its confidence, bin by bin, and below how many digits are in each bin."""
    figure = Figure(figsize=(width_of(len(probabilities)), 6))
    axes = figure.subplots(2, len(probabilities), sharex=True, sharey="row", height_ratios=[3, 1], squeeze=False)
    colours = engine_colours(probabilities)
    for (above, below), (engine, each) in zip(axes.T, probabilities.items(), strict=True):
        bins, colour = calibration_bins(each, labels), colours[engine]
        draw_accuracy(
            above, bins, colour, f"{engine}: expected calibration error {calibration_error(each, labels):.2%}"
        )
        edges = np.linspace(0, 1, len(bins.sizes) + 1)
        below.bar(edges[:-1], bins.sizes, np.diff(edges), align="edge", color=colour, edgecolor="white")
        below.set(yscale="log", xlabel="confidence")
        below.grid(axis="y")
    axes[0, 0].set(ylabel="accuracy, 95 % Wilson interval", xlim=(0, 1.02), ylim=(-0.02, 1.02))
    axes[1, 0].set(ylabel="test digits", ylim=(0.5, 2 * len(labels)))
    axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[1, 0].yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[1, 0].xaxis.set_major_formatter(PercentFormatter(1))
    figure.suptitle("Reliability: how often the networks are right, by how confident they are")
    return figure


def draw_accuracy(axis: Axes, bins: CalibrationBins, colour: str, label: str) -> None:
    """A point for each bin that holds digits, and the diagonal on which a calibrated network's points would lie."""
    sizes, confidence, accuracy = (values[bins.sizes > 0] for values in bins)
    correct = np.rint(accuracy * sizes)
    intervals = [wilson_interval(int(right), int(size)) for right, size in zip(correct, sizes, strict=True)]
    axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="accuracy equals confidence")
    axis.vlines(confidence, *zip(*intervals, strict=True), color=colour, linewidth=2.5, alpha=0.4)
    axis.plot(confidence, accuracy, "o-", color=colour, label=label)
    axis.grid()
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1))
