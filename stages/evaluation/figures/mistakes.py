"""The misclassified images of highest confidence."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from stages.evaluation.figures.style import WIDTH, engine_colors
from stages.pipeline.classifier import Images, Labels, Probabilities

ROWS, COLUMNS = 2, 8  # of each engine
SIDE, CELL, LINE = 28, 36, 5  # pixels of an image: its side, the distance to the next one, the height of a line of text


def draw(images: Images, labels: Labels, probabilities: Mapping[str, Probabilities]) -> Figure:
    """Draw each engine's most confident mistakes with all engines' predictions and their confidence.

    ``images`` (N, 28, 28) are in [0, 1].
    """
    predictions = {engine: each.argmax(axis=1) for engine, each in probabilities.items()}
    height = SIDE + (len(predictions) + 2) * LINE
    inches = WIDTH * ROWS * height / (COLUMNS * CELL) + 0.45
    figure = Figure(figsize=(WIDTH, inches * len(predictions)))
    axes = figure.subplots(len(predictions), squeeze=False)[:, 0]
    for axis, (engine, prediction) in zip(axes, predictions.items(), strict=True):
        shown = confident_mistakes(probabilities[engine], labels, ROWS * COLUMNS)
        for place, index in enumerate(shown):
            row, column = divmod(place, COLUMNS)
            corner = column * CELL + (CELL - SIDE) / 2, row * height + LINE
            lines = {engine: confident_answer(each[index]) for engine, each in probabilities.items()}
            framed = all(each[index] != labels[index] for each in predictions.values())
            draw_image(axis, corner, images[index], int(labels[index]), lines, framed)
        axis.set(title=f"{engine}: {len(shown)} of {np.sum(prediction != labels):,} mistakes")
        axis.set(xlim=(0, COLUMNS * CELL), ylim=(ROWS * height, 0), aspect="equal")
        axis.set_axis_off()
    all_engines = "both" if len(predictions) == 2 else "all"
    figure.suptitle(f"The most confident mistakes, with confidence; framed ones are misclassified by {all_engines}")
    return figure


def confident_mistakes(probabilities: Probabilities, labels: Labels, limit: int) -> NDArray[np.int64]:
    """Indices of at most ``limit`` misclassified images, the most confident first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    confidence = probabilities[wrong].max(axis=1)
    return wrong[np.argsort(-confidence, kind="stable")[:limit]]


def confident_answer(probabilities: Probabilities) -> str:
    """The most probable of ten classes, and its probability, rounded down: only certainty is 100 %."""
    return f"{probabilities.argmax()}, {math.floor(1e4 * float(probabilities.max())) / 1e4:.2%}"


def draw_image(
    axis: Axes,
    corner: tuple[float, float],
    image: NDArray[np.floating[Any]],
    actual: int,
    answers: Mapping[str, str],
    framed: bool,
) -> None:
    """Draw an image (28, 28), its class above it and below it each engine's answer, in the engine's color."""
    left, top = corner
    axis.imshow(image, cmap="gray_r", vmin=0, vmax=1, extent=(left, left + SIDE, top + SIDE, top))
    color, width = ("black", 1.6) if framed else ("0.85", 0.5)
    axis.add_patch(Rectangle(corner, SIDE, SIDE, fill=False, edgecolor=color, linewidth=width))
    center = left + SIDE / 2
    axis.text(center, top - 1, f"label {actual}", fontsize=9, ha="center", va="bottom")
    colors = engine_colors(answers)
    for line, (engine, answer) in enumerate(answers.items()):
        below = top + SIDE + 1 + line * LINE
        axis.text(center, below, f"{engine} {answer}", color=colors[engine], fontsize=8, ha="center", va="top")
