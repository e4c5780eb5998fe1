"""What all pictures have in common: colours, type and file format."""

import io
from collections.abc import Iterable
from itertools import cycle
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito chose these so that the colour-blind tell them apart (their yellow is hardly seen on white). The
# templates in .dvc/plots have the same ones in the same order, and put torch and scratch before other engines.
ENGINE_COLOURS = {"torch": "#0072B2", "scratch": "#D55E00"}
FURTHER_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WIDTH = 9.0  # inches; 900 pixels on a page make type of 10 points as large as the page's own

# For matplotlib.style.context: the defaults first, so that nobody's own matplotlibrc changes the pictures.
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


def engine_colours(engines: Iterable[str]) -> dict[str, str]:
    """Each engine's colour: torch and scratch have their own, further engines get the next ones by their names."""
    further = sorted(set(engines) - set(ENGINE_COLOURS))
    colours = cycle((*FURTHER_COLOURS, *ENGINE_COLOURS.values()))  # from the eighth engine on, they come again
    return {**ENGINE_COLOURS, **dict(zip(further, colours, strict=False))}


def width_of(columns: int) -> float:
    """The width in inches of a picture with a column for each engine: two fill the page, further ones widen it."""
    return WIDTH / 2 * max(columns, 2)


def to_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file of at most 256 colours, a third of the size. Equal figures give equal bytes."""
    drawn, compact = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    palette = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2)
    palette.save(compact, "PNG", optimize=True)
    return compact.getvalue()
