"""The misclassified images of highest confidence."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from stages.evaluation.figures.style import WIDTH, engine_colors
from stages.pipeline.classifier import Images, Labels, Probabilities

ROWS, COLUMNS = 2, 8  # of each engine
SIDE, CELL, LINE = 28, 36, 5  # pixels of an image: its side, the distance to the next one, the height of a line of text


class Tile(NamedTuple):
    """An image (28, 28) in [0, 1], its class, which stands above it, and lines of text below it with their colors."""

    image: NDArray[np.floating[Any]]
    actual: int
    captions: list[tuple[str, str]]
    framed: bool


def draw(images: Images, labels: Labels, probabilities: Mapping[str, Probabilities]) -> Figure:
    """Draw each engine's most confident mistakes with all engines' predictions and their confidence.

    ``images`` (N, 28, 28) are in [0, 1].
    """
    predictions, colors = {each: p.argmax(axis=1) for each, p in probabilities.items()}, engine_colors(probabilities)
    figure = Figure(figsize=(WIDTH, (height_of(ROWS, len(predictions)) + 0.45) * len(predictions)))
    axes = figure.subplots(len(predictions), squeeze=False)[:, 0]
    for axis, (engine, prediction) in zip(axes, predictions.items(), strict=True):
        tiles = []
        for index in confident_mistakes(probabilities[engine], labels, ROWS * COLUMNS):
            captions = [(f"{each} {format_prediction(p[index])}", colors[each]) for each, p in probabilities.items()]
            framed = all(each[index] != labels[index] for each in predictions.values())
            tiles.append(Tile(images[index], int(labels[index]), captions, framed))
        draw_tiles(axis, tiles, ROWS, len(predictions))
        axis.set(title=f"{engine}: {len(tiles)} of {np.sum(prediction != labels):,} mistakes")
    all_engines = "both" if len(predictions) == 2 else "all"
    figure.suptitle(f"The most confident mistakes, with confidence; framed ones are misclassified by {all_engines}")
    return figure


def confident_mistakes(probabilities: Probabilities, labels: Labels, limit: int) -> NDArray[np.int64]:
    """Indices of at most ``limit`` misclassified images, the most confident first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    confidence = probabilities[wrong].max(axis=1)
    return wrong[np.argsort(-confidence, kind="stable")[:limit]]


def format_prediction(probabilities: Probabilities) -> str:
    """The most probable of ten classes, and its probability, rounded down: only certainty is 100 %."""
    return f"{probabilities.argmax()}, {math.floor(1e4 * float(probabilities.max())) / 1e4:.2%}"


def tile_height(captions: int) -> int:
    """In pixels of an image, with so many lines of text below it."""
    return SIDE + (captions + 2) * LINE


def height_of(rows: int, captions: int) -> float:
    """Inches of rows of tiles as wide as the page."""
    return WIDTH * rows * tile_height(captions) / (COLUMNS * CELL)


def draw_tiles(axis: Axes, tiles: Sequence[Tile], rows: int, captions: int) -> None:
    """Draw tiles in rows of COLUMNS, each of at most so many lines of captions."""
    height = tile_height(captions)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, COLUMNS)
        left, top = column * CELL + (CELL - SIDE) / 2, row * height + LINE
        axis.imshow(tile.image, cmap="gray_r", vmin=0, vmax=1, extent=(left, left + SIDE, top + SIDE, top))
        color, width = ("black", 1.6) if tile.framed else ("0.85", 0.5)
        axis.add_patch(Rectangle((left, top), SIDE, SIDE, fill=False, edgecolor=color, linewidth=width))
        center, below = left + SIDE / 2, top + SIDE + 1
        axis.text(center, top - 1, f"label {tile.actual}", fontsize=9, ha="center", va="bottom")
        for line, (caption, color) in enumerate(tile.captions):
            axis.text(center, below + line * LINE, caption, color=color, fontsize=8, ha="center", va="top")
    axis.set(xlim=(0, COLUMNS * CELL), ylim=(rows * height, 0), aspect="equal")
    axis.set_axis_off()
