"""The digits that the networks get wrong while they are surest."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.evaluation.figures.style import WIDTH, engine_colours
from stages.pipeline.classifier import Images, Labels, Probabilities

ROWS, COLUMNS = 2, 10  # of each engine
HEIGHT = 3.2  # inches, of each engine


def draw(images: Images, labels: Labels, probabilities: Mapping[str, Probabilities]) -> Figure:
    """Draw each engine's most confident mistakes with the answers of all; ``images`` (N, 28, 28) are from 0 to 1."""
    figure = Figure(figsize=(WIDTH, HEIGHT * len(probabilities)))
    answers = {engine: each.argmax(axis=1) for engine, each in probabilities.items()}
    parts = figure.subfigures(len(answers), squeeze=False).flat
    for part, (engine, answer) in zip(parts, answers.items(), strict=True):
        chosen = confident_mistakes(probabilities[engine], labels, ROWS * COLUMNS)
        part.suptitle(f"{engine}: {len(chosen)} of {np.sum(answer != labels):,} mistakes", fontsize=11)
        axes = part.subplots(ROWS, COLUMNS).ravel()
        for axis, index in zip(axes, chosen, strict=False):
            draw_digit(axis, images[index], int(labels[index]), {name: int(answers[name][index]) for name in answers})
        for axis in axes[len(chosen) :]:
            axis.set_axis_off()
    everywhere = "both" if len(answers) == 2 else "all"
    figure.suptitle(f"The most confident mistakes; those in a frame are wrong in {everywhere}")
    return figure


def confident_mistakes(probabilities: Probabilities, labels: Labels, limit: int) -> NDArray[np.int64]:
    """Indices of at most ``limit`` wrongly classified digits, the most confident first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    confidence = probabilities[wrong].max(axis=1)
    return wrong[np.argsort(-confidence, kind="stable")[:limit]]


def draw_digit(axis: Axes, image: NDArray[np.floating[Any]], actual: int, answers: Mapping[str, int]) -> None:
    """Draw a digit (28, 28) with the right class above it and each engine's answer below, in the engine's colour."""
    axis.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"is {actual}", fontsize=9, pad=3)
    colours = engine_colours(answers)
    for line, (engine, answer) in enumerate(answers.items()):
        text, colour = "\n" * line + f"{engine} {answer}", colours[engine]
        axis.text(0.5, -0.04, text, color=colour, fontsize=8, ha="center", va="top", transform=axis.transAxes)
    framed = actual not in answers.values()
    axis.spines[:].set(visible=True, color="black" if framed else "0.85", linewidth=1.6 if framed else 0.5)
