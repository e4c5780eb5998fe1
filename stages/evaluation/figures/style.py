"""What all figures have in common: colors, fonts and file format."""

import io
from collections.abc import Iterable
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's colors, distinguishable with color blindness, without their yellow, too pale on white. The templates
# in .dvc/plots have the same colors in the same order, and put torch and scratch before other engines.
ENGINE_COLORS = {"torch": "#0072B2", "scratch": "#D55E00"}
FURTHER_COLORS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WIDTH = 9.0  # inches; shown 900 pixels wide, 10 points are the size of a page's own text

# For matplotlib.style.context: the defaults first, so that nobody's own matplotlibrc changes the figures.
STYLE: list[str | dict[str, Any]] = [
    "default",
    {
        "axes.axisbelow": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 11,
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.wspace": 0.04,
        "figure.dpi": 160,
        "figure.titlesize": 13,
        "font.size": 10,
        "grid.alpha": 0.3,
        "image.interpolation": "nearest",
        "legend.frameon": False,
        "lines.linewidth": 1.6,
    },
]


def engine_colors(engines: Iterable[str]) -> dict[str, str]:
    """Each engine's color: torch and scratch have their own, further engines take the next ones, sorted by name."""
    further = sorted(set(engines) - set(ENGINE_COLORS))
    colors = cycle((*FURTHER_COLORS, *ENGINE_COLORS.values()))  # repeated from the eighth engine on
    return {**ENGINE_COLORS, **dict(zip(further, colors, strict=False))}


def width_of(columns: int) -> float:
    """Width in inches of a figure with a column per engine: two fill the page, further ones widen it."""
    return WIDTH / 2 * max(columns, 2)


def to_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file of at most 256 colors, a third of the size of a full one; deterministic."""
    canvas, file = FigureCanvasAgg(figure), io.BytesIO()
    # Once, where savefig draws twice and compresses what is compressed again here.
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib leaves it untyped
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # as well
    drawn = Image.fromarray(pixels).convert("RGB")
    drawn.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2).save(file, "PNG", optimize=True)
    return file.getvalue()
