"""Reliability diagrams (Guo et al. 2017): accuracy against confidence."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

from stages.evaluation.calibration import BINS, CalibrationBins, calibration_bins, expected_calibration_error
from stages.evaluation.figures.style import engine_colors, width_of
from stages.evaluation.metrics import wilson_interval
from stages.pipeline.classifier import Labels, Probabilities

MIN_COUNT = 50  # images in a bin: fewer say little, and their points would zigzag


def draw(probabilities: Mapping[str, Probabilities], labels: Labels) -> Figure:
    """Draw each engine's accuracy against its confidence in each bin, and below it the number of images in the bin."""
    figure = Figure(figsize=(width_of(len(probabilities)), 6))
    axes = figure.subplots(2, len(probabilities), sharex=True, sharey="row", height_ratios=[3, 1], squeeze=False)
    colors = engine_colors(probabilities)
    for (above, below), (engine, each) in zip(axes.T, probabilities.items(), strict=True):
        (edges, bins), color = merge_bins(calibration_bins(each, labels)), colors[engine]
        error = expected_calibration_error(each, labels)
        draw_accuracy(above, bins, color, f"{engine}: expected calibration error {error:.2%}")
        below.bar(edges[:-1], bins.counts, np.diff(edges), align="edge", color=color, edgecolor="white")
        below.set(yscale="log", xlabel="confidence")
        below.grid(axis="y")
    axes[0, 0].set(ylabel="accuracy, 95 % Wilson interval", xlim=(0, 1.02), ylim=(-0.02, 1.02))
    axes[1, 0].set(ylabel="test images", ylim=(0.5, 2 * len(labels)))
    axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[1, 0].yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[1, 0].xaxis.set_major_formatter(PercentFormatter(1))
    figure.suptitle(
        f"Reliability diagram: accuracy by confidence, in adaptive bins of at least {MIN_COUNT} images\n"
        f"(the expected calibration error is that of {BINS} equal bins)"
    )
    return figure


def merge_bins(bins: CalibrationBins) -> tuple[NDArray[np.float64], CalibrationBins]:
    """Merge neighboring bins until each has ``MIN_COUNT`` images, or all images are in one. Returns the edges, too."""
    group, groups, in_group = np.zeros(len(bins.counts), int), 0, 0
    for place, count in enumerate(bins.counts):
        group[place] = groups
        in_group += count
        if in_group >= MIN_COUNT and bins.counts[place + 1 :].sum() >= MIN_COUNT:
            groups, in_group = groups + 1, 0
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    counts = np.bincount(group, bins.counts)
    confidence, accuracy = (np.bincount(group, bins.counts * each) / counts for each in bins[1:])
    return np.append(starts, len(group)) / len(group), CalibrationBins(counts.astype(np.int64), confidence, accuracy)


def draw_accuracy(axis: Axes, bins: CalibrationBins, color: str, label: str) -> None:
    """Draw a point for each bin, and the diagonal of perfect calibration."""
    counts, confidence, accuracy = bins
    correct = np.rint(accuracy * counts)
    intervals = [wilson_interval(int(right), int(size)) for right, size in zip(correct, counts, strict=True)]
    axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="perfect calibration")
    axis.vlines(confidence, *zip(*intervals, strict=True), color=color, linewidth=2.5, alpha=0.4)
    axis.plot(confidence, accuracy, "o-", color=color, label=label)
    axis.grid()
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1))
