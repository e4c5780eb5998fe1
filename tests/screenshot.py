"""The animation in the README: ``make screenshot`` draws a digit on the page of `make draw` and films it."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.interpolate import CubicSpline
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains

from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes
from stages.tools.commands import start
from stages.tools.draw.__main__ import PAGE
from stages.tools.draw.__main__ import main as build_page
from tests.browser import find_browser, started_browser
from tests.tools.drawn_page import THREE, DrawnPage, Point

ANIMATION = Path("stages/tools/draw/draw.gif")
SCREEN = 1240, 1010  # the smallest that shows all layers, in two columns; scaled by the browser, shots would vary
NETWORK, LAYER = 1, 1  # of the small network, the first layer with weights: one of its units is opened
COLORS = 64
EMPTY, DRAWING, DRAWN, OPENED = 700, 200, 1200, 3500  # milliseconds for which a frame stays
STEPS, FRAME_STEPS = 24, 4  # in a stroke, from frame to frame

# Where the most active unit of a layer is: its layer's image, and how far from the middle of that.
MOST_ACTIVE = """
const {image, values} = page.inside.views[arguments[0]].views[arguments[1] + 1];  // the input comes first
const {row, column} = image.place(argmax(values));
const {width, height} = image.field.getBoundingClientRect();
return [image.field, ((column + 0.5) / image.width - 0.5) * width, ((row + 0.5) / image.height - 0.5) * height];
"""


class Film:
    """Frames of what a browser shows, and the milliseconds for which each stays."""

    def __init__(self, page: DrawnPage) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []

    def shoot(self, duration: int) -> None:
        """Add what is on the screen."""
        self.page.wait_for_frame()
        self.frames.append(Image.open(io.BytesIO(self.page.browser.get_screenshot_as_png())).convert("RGB"))
        self.durations.append(duration)

    def to_gif(self) -> bytes:
        """An animation that repeats, in which all frames share their colors, and each holds what has changed."""
        colors = palette(self.frames)
        first, *others = [frame.quantize(palette=colors, dither=Image.Dither.NONE) for frame in self.frames]
        file = io.BytesIO()
        first.save(file, "GIF", save_all=True, append_images=others, duration=self.durations, loop=0, optimize=True)
        return file.getvalue()


def palette(frames: Sequence[Image.Image]) -> Image.Image:
    """The colors for all frames. The square root of its pixels is a color's weight, so that small marks keep theirs."""
    pixels = np.concatenate([np.asarray(frame.convert("RGBA")).view(np.uint32).ravel() for frame in frames])
    colors, counts = np.unique(pixels, return_counts=True)
    weighted = np.repeat(colors, np.sqrt(counts).astype(int))
    image = Image.fromarray(weighted.view(np.uint8).reshape(1, -1, 4)).convert("RGB")
    return image.quantize(COLORS, Image.Quantize.MEDIANCUT, kmeans=10)


def main() -> None:
    """Write the animation of the page that shows the networks of the last run."""
    programs = find_browser()
    if not programs:
        raise PipelineError("chromium or chromedriver is not installed")
    build_page()
    with started_browser(*programs) as browser:
        film = draw(open_page(browser))
    write_bytes(ANIMATION, film.to_gif())
    print(f"{ANIMATION}: {len(film.frames)} frames, {ANIMATION.stat().st_size / 1000:.0f} kB")


def open_page(browser: webdriver.Chrome) -> DrawnPage:
    """The page in light colors, on a screen of SCREEN."""
    page = DrawnPage(browser, PAGE.absolute().as_uri())
    page.prefer("light")
    page.resize(*SCREEN)
    browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    return page


def draw(page: DrawnPage) -> Film:
    """Film the page while a digit is drawn on it, and while a unit is open."""
    film, browser = Film(page), page.browser
    page.click(".choice label", NETWORK)
    film.shoot(EMPTY)
    for stroke in THREE:
        first, *others = curve(stroke)
        pointer(page, first).click_and_hold().perform()
        for step, point in enumerate(others, 1):
            pointer(page, point).perform()
            if step % FRAME_STEPS == 0:
                film.shoot(DRAWING)
        ActionChains(browser, duration=0).release().perform()
    film.shoot(DRAWN)
    ActionChains(browser, duration=0).move_to_element_with_offset(
        *page.run(MOST_ACTIVE, NETWORK, LAYER)
    ).click().perform()
    film.shoot(OPENED)
    return film


def curve(stroke: Sequence[Point]) -> list[tuple[float, float]]:
    """STEPS + 1 points on a smooth curve through those of a stroke."""
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(stroke, axis=0), axis=1))])
    x, y = CubicSpline(lengths, stroke)(np.linspace(0, lengths[-1], STEPS + 1)).T.tolist()
    return list(zip(x, y, strict=True))


def pointer(page: DrawnPage, point: tuple[float, float]) -> ActionChains:
    """The mouse, about to go to a point of the canvas, which has 280 x 280 pixels."""
    pad = page.browser.find_element("id", "pad")
    x, y = ((each / 280 - 0.5) * pad.size["width"] for each in point)
    return ActionChains(page.browser, duration=0).move_to_element_with_offset(pad, round(x), round(y))


if __name__ == "__main__":
    start(main)
