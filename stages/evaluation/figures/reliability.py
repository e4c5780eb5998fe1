"""Reliability diagrams (Guo et al. 2017): accuracy against confidence."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from stages.evaluation.figures.style import engine_colors, width_of
from stages.evaluation.metrics import CalibrationBins, calibration_bins, expected_calibration_error, wilson_interval
from stages.pipeline.classifier import Labels, Probabilities


def draw(probabilities: Mapping[str, Probabilities], labels: Labels) -> Figure:
    """Draw each engine's accuracy against its confidence in each bin, and below it the number of images in the bin."""
    figure = Figure(figsize=(width_of(len(probabilities)), 6))
    axes = figure.subplots(2, len(probabilities), sharex=True, sharey="row", height_ratios=[3, 1], squeeze=False)
    colors = engine_colors(probabilities)
    for (above, below), (engine, each) in zip(axes.T, probabilities.items(), strict=True):
        bins, color = calibration_bins(each, labels), colors[engine]
        error = expected_calibration_error(each, labels)
        draw_accuracy(above, bins, color, f"{engine}: expected calibration error {error:.2%}")
        edges = np.linspace(0, 1, len(bins.counts) + 1)
        below.bar(edges[:-1], bins.counts, np.diff(edges), align="edge", color=color, edgecolor="white")
        below.set(yscale="log", xlabel="confidence")
        below.grid(axis="y")
    axes[0, 0].set(ylabel="accuracy, 95 % Wilson interval", xlim=(0, 1.02), ylim=(-0.02, 1.02))
    axes[1, 0].set(ylabel="test images", ylim=(0.5, 2 * len(labels)))
    axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[1, 0].yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[1, 0].xaxis.set_major_formatter(PercentFormatter(1))
    figure.suptitle("Reliability diagram: accuracy by confidence")
    return figure


def draw_accuracy(axis: Axes, bins: CalibrationBins, color: str, label: str) -> None:
    """Draw a point for each bin that is not empty, and the diagonal of perfect calibration."""
    counts, confidence, accuracy = (values[bins.counts > 0] for values in bins)
    correct = np.rint(accuracy * counts)
    intervals = [wilson_interval(int(right), int(size)) for right, size in zip(correct, counts, strict=True)]
    axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="perfect calibration")
    axis.vlines(confidence, *zip(*intervals, strict=True), color=color, linewidth=2.5, alpha=0.4)
    axis.plot(confidence, accuracy, "o-", color=color, label=label)
    axis.grid()
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1))
