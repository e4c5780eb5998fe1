"""prepare.js of the page to draw on and the command's Python see the same 28x28 image in the same drawing."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from selenium import webdriver

from stages.pipeline.errors import PipelineError
from stages.tools.handwriting import prepare
from tests.imports import ROOT

pytestmark = pytest.mark.slow

SIDE = 280
VERTICAL, HORIZONTAL = [(140.0, 20.0), (140.0, 260.0)], [(20.0, 60.0), (260.0, 60.0), (120.0, 250.0)]


def drawing(strokes: list[list[tuple[float, float]]], pen: float) -> NDArray[np.uint8]:
    """Black lines with round ends on white, with smooth edges."""
    page = Image.new("L", (2 * SIDE, 2 * SIDE), 255)
    draw = ImageDraw.Draw(page)
    for points in ([(2 * x, 2 * y) for x, y in stroke] for stroke in strokes):
        draw.line(points, 0, round(2 * pen), joint="curve")
        for x, y in points:
            draw.ellipse([x - pen, y - pen, x + pen, y + pen], 0)
    return np.asarray(page.resize((SIDE, SIDE), Image.Resampling.BOX))


def random_drawings(count: int) -> Iterator[NDArray[np.uint8]]:
    generator = np.random.default_rng(5)
    for _ in range(count):
        strokes = [
            [(float(x), float(y)) for x, y in generator.uniform(15, 265, (generator.integers(1, 6), 2))]
            for _ in range(generator.integers(1, 5))
        ]
        yield drawing(strokes, generator.uniform(2, 30))


def test_the_page_sees_in_a_drawing_what_the_command_sees(browser: webdriver.Chrome) -> None:
    browser.get("about:blank")
    browser.execute_script(
        "document.head.append(Object.assign(document.createElement('script'), {textContent: arguments[0]}))",
        (ROOT / "stages/tools/draw/web/prepare.js").read_text(encoding="utf-8"),
    )
    read = 0
    for image in [drawing([VERTICAL], 11), drawing([HORIZONTAL], 11), *random_drawings(100)]:
        script = f"return prepareDrawing(arguments[0], {SIDE}, {SIDE}).digits.map((digit) => [...digit])"
        seen = browser.execute_script(script, ((255 - image.astype(float)) / 255).ravel().tolist())
        if len(seen) == 1:
            np.testing.assert_array_equal(np.reshape(seen, (28, 28)), prepare(Image.fromarray(image))[0])
            read += 1
        else:
            with pytest.raises(PipelineError, match=f"^{len(seen)} digits found" if seen else "blank"):
                prepare(Image.fromarray(image))
    assert read > 90
