"""Weights of the first layer, as images."""

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from stages.evaluation.figures.style import WIDTH
from stages.pipeline.splits import Filters

UNITS, COLUMNS = 32, 16
HEIGHT = 1.55  # inches, of each engine
COLORS = colormaps["RdBu_r"].with_extremes(bad="0.75")


def draw(filters_of: Mapping[str, Filters]) -> Figure:
    """Draw the first layer of each engine: the units of largest norm, one square each."""
    figure = Figure(figsize=(WIDTH, HEIGHT * len(filters_of)))
    axes = figure.subplots(len(filters_of), squeeze=False)[:, 0]
    for axis, (engine, filters) in zip(axes, filters_of.items(), strict=True):
        largest = filters[np.argsort(-np.linalg.norm(filters, axis=(1, 2)), kind="stable")[:UNITS]]
        limit = np.abs(largest).max()
        image = axis.imshow(montage(largest, COLUMNS), cmap=COLORS, vmin=-limit, vmax=limit)
        some = f"the {UNITS} units of {len(filters)} with the largest norm"
        axis.set(
            title=f"{engine}: {some if len(filters) > UNITS else f'all {len(filters)} units, the largest norm first'}"
        )
        axis.set_axis_off()
        figure.colorbar(image, ax=axis, pad=0.01, aspect=10)
    figure.suptitle("Weights of the first layer, one square for each unit")
    return figure


def montage(filters: Filters, columns: int) -> Filters:
    """Filters (units, height, width) in rows of at most ``columns``, as one image with lines of NaN between them."""
    columns = min(columns, len(filters))
    filters = np.pad(filters, ((0, -len(filters) % columns), (0, 1), (0, 1)), constant_values=np.nan)
    rows = [np.hstack(list(row)) for row in np.split(filters, len(filters) // columns)]
    return np.vstack(rows)[:-1, :-1]
