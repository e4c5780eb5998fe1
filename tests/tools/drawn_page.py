"""The page of `make draw` as a user has it: built by the command, opened in a browser, drawn on with a pointer."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from stages.engines import ENGINES, make
from stages.engines.config import EngineConfig, TorchConfig
from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.classifier import Classifier, Probabilities, predict_in_batches
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import load_split, load_standardization
from tests.browser import messages
from tests.project import Project

Point = tuple[int, int]
CLASSIFIERS: dict[str, type[Classifier]] = {"torch": TorchClassifier, "scratch": ScratchClassifier}
CONFIGS = {"torch": TorchConfig(), "scratch": EngineConfig()}
# In pixels of the canvas, which has 280 x 280.
THREE: list[list[Point]] = [
    [(85, 75), (110, 55), (145, 50), (175, 65), (185, 90), (170, 115), (140, 130)],
    [(140, 130), (170, 140), (190, 165), (185, 200), (160, 222), (125, 228), (90, 215)],
]
TWO_ONES: list[list[Point]] = [[(60, 60), (60, 220)], [(210, 60), (210, 220)]]

# A copy is read, because the browser warns of canvases that are made to be drawn and often read.
PIXELS = """
const pixels = canvas => {
    const {width, height} = canvas, copy = make("canvas", {width, height}).getContext("2d", {willReadFrequently: true});
    copy.drawImage(canvas, 0, 0);
    return copy.getImageData(0, 0, width, height).data;
};
"""


def build(project: Project) -> str:
    """The address that `make draw` prints."""
    address = project.run(sys.executable, "-m", "stages.tools.draw").stdout.splitlines()[-1]
    assert address == (project.folder / "draw.html").as_uri()
    return address


def train_networks(project: Project, network: dict[str, Any]) -> None:
    """Replace both engines' models by networks of this config, trained for a few steps."""
    processed = project.folder / "data/processed"
    train, standardization = load_split("train", processed), load_standardization(processed)
    for engine, path in ENGINES.items():
        classifier = make(engine, CONFIGS[engine].updated(network=network), spawn_generators(1), standardization)
        for start in range(0, len(train.labels), 16):
            classifier.train_batch(train.images[start : start + 16], train.labels[start : start + 16], 0.05)
        (project.folder / path).unlink()  # it may be a link into DVC's cache
        (project.folder / path).write_bytes(classifier.to_bytes())


def predict(project: Project, engine: str, pixels: NDArray[np.uint8]) -> Probabilities:
    """What Python's network of the project says of one image, (10,)."""
    classifier = CLASSIFIERS[engine].from_bytes((project.folder / ENGINES[engine]).read_bytes())
    (probabilities,) = predict_in_batches(classifier, classifier.standardization.apply(pixels.reshape(1, 28, 28)))
    return np.asarray(probabilities)


class DrawnPage:
    """The page, open in a browser."""

    def __init__(self, browser: webdriver.Chrome, address: str) -> None:
        self.browser = browser
        for kind in ("browser", "performance"):
            messages(browser, kind)
        browser.get(address)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript there, and return what it returns."""
        return self.browser.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """The text of an element, as far as it is shown."""
        return self.browser.find_element("css selector", selector).text

    def texts(self, selector: str) -> list[str]:
        """The text of every such element, shown or not."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map(element => element.textContent)", selector
        )
        return found

    def scroll_to(self, selector: str) -> None:
        """Bring an element into view, and let it be drawn."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({behavior: 'instant'})", selector)
        self.wait_for_frame()

    def click(self, selector: str, number: int = 0) -> None:
        """Click the middle of an element, after scrolling to it."""
        element = self.browser.find_elements("css selector", selector)[number]
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        element.click()
        self.wait_for_frame()

    def wait_until(self, script: str) -> None:
        """Wait until a JavaScript expression is true."""
        WebDriverWait(self.browser, 30).until(lambda _: self.run(f"return {script}"))

    def wait_for_frame(self) -> None:
        """Wait until what has happened is on the screen."""
        self.browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))"
        )

    def draw(self, strokes: Sequence[Sequence[Point]], pointer: str = "mouse") -> None:
        """Draw with the browser's own events of a mouse or a finger."""
        left, top, width = self.run(
            """const pad = document.getElementById("pad");
            pad.scrollIntoView({block: "nearest", behavior: "instant"});
            const {left, top, width} = pad.getBoundingClientRect();
            return [left, top, width]"""
        )
        for stroke in strokes:
            points = [(left + x * width / 280, top + y * width / 280) for x, y in stroke]
            (self._touch if pointer == "touch" else self._press)(points)
        self.wait_for_frame()

    def _press(self, points: Sequence[tuple[float, float]]) -> None:
        steps = [("mousePressed", 1, points[0])] + [("mouseMoved", 1, each) for each in points[1:]]
        for kind, buttons, (x, y) in [*steps, ("mouseReleased", 0, points[-1])]:
            event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1}
            self.browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def _touch(self, points: Sequence[tuple[float, float]]) -> None:
        steps = [("touchStart", points[:1])] + [("touchMove", [each]) for each in points[1:]]
        for kind, touched in [*steps, ("touchEnd", [])]:
            event = {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in touched]}
            self.browser.execute_cdp_cmd("Input.dispatchTouchEvent", event)

    def seen(self) -> NDArray[np.uint8]:
        """The image that the page shows as what the networks see, (28, 28)."""
        pixels = self.run(
            f"{PIXELS} return [...pixels(document.querySelector('#seen canvas'))].filter((_, i) => i % 4 === 0)"
        )
        return np.array(pixels, np.uint8).reshape(28, 28)

    def probabilities(self) -> dict[str, list[float]]:
        """What each network of the page says; nothing without a digit."""
        script = "return page.networks.map(({engine, last}) => [engine, last && [...last.probabilities]])"
        return {engine: each for engine, each in self.run(script) if each}

    def count_colors(self, selector: str) -> list[int]:
        """How many colors each canvas has, after scrolling to it."""
        counts = []
        for canvas in self.browser.find_elements("css selector", selector):
            self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", canvas)
            self.wait_for_frame()
            counts.append(
                self.run(f"{PIXELS} return new Set(new Uint32Array(pixels(arguments[0]).buffer)).size", canvas)
            )
        return counts

    def resize(self, width: int, height: int) -> None:
        """Another size of the screen; one with fingers, where it is as narrow as a phone's."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.wait_for_frame()

    def prefer(self, scheme: str) -> None:
        """A light or a dark color scheme."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.wait_for_frame()

    def console(self) -> list[str]:
        """The console's messages since the page was opened."""
        return [entry["message"] for entry in messages(self.browser, "browser")]


def download_to(browser: webdriver.Chrome, folder: Path) -> None:
    """Let the browser save files there without a question."""
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
