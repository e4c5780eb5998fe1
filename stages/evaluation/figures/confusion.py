"""Which classes are taken for which."""

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from stages.evaluation.confusion import Counts
from stages.evaluation.figures.style import width_of
from stages.pipeline.classifier import CLASSES

COLOURS = colormaps["Purples"].with_extremes(bad="0.92")  # the diagonal would outshine every error


def draw(counts: Mapping[str, Counts]) -> Figure:
    """Draw each engine's confusion counts, int64 (10, 10): a row for each actual class, a column for each answer."""
    figure = Figure(figsize=(width_of(len(counts)), 5.4))
    shares = {engine: error_shares(matrix) for engine, matrix in counts.items()}
    norm = PowerNorm(0.5, vmin=0, vmax=max(share.max() for share in shares.values()) or 1)
    axes = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for axis, (engine, matrix) in zip(axes, counts.items(), strict=True):
        image = axis.imshow(np.ma.masked_array(shares[engine], np.eye(CLASSES, dtype=bool)), cmap=COLOURS, norm=norm)
        write_counts(axis, matrix, np.asarray(norm(shares[engine])))
        wrong, total = matrix.sum() - matrix.trace(), matrix.sum()
        axis.set(title=f"{engine}: {wrong:,} of {total:,} wrong", xlabel="predicted")
        axis.set(xticks=range(CLASSES), yticks=range(CLASSES))
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    axes[0].set_ylabel("actual")
    bar = figure.colorbar(
        image, ax=axes, location="bottom", aspect=40, shrink=0.7, format=PercentFormatter(1, decimals=1)
    )
    bar.set_label("share of the actual class that got this wrong answer")
    figure.suptitle("Confusion matrices of the test digits")
    return figure


def error_shares(counts: Counts) -> NDArray[np.float64]:
    """The share of each class (row) that was taken for each other class, float64 (10, 10); 0 on the diagonal."""
    errors = counts * (1 - np.eye(CLASSES))
    return np.asarray(errors / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def write_counts(axis: Axes, counts: Counts, darkness: NDArray[np.float64]) -> None:
    """Write each count into its cell, white in a dark cell (darkness is from 0 to 1), zeros pale."""
    for actual, predicted in np.ndindex(counts.shape):
        count = counts[actual, predicted]
        colour = "white" if darkness[actual, predicted] > 0.6 else "black" if count else "0.75"
        axis.text(predicted, actual, f"{count}", ha="center", va="center", fontsize=8, color=colour)
