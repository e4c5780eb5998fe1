"""What all pictures have in common: colours, type and file format."""

import io
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito chose these so that the colour-blind tell them apart. The templates in .dvc/plots have the same two.
ENGINE_COLOURS = {"torch": "#0072B2", "scratch": "#D55E00"}
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


def to_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file of at most 256 colours, a third of the size. Equal figures give equal bytes."""
    drawn, compact = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    palette = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2)
    palette.save(compact, "PNG", optimize=True)
    return compact.getvalue()
