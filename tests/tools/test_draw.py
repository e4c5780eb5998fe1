"""The page of `make draw` in a real browser whose network is cut, used by mouse, by touch and by keyboard."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from stages.data.idx import read_split
from tests.browser import messages
from tests.project import Project, wait_until
from tests.tools.drawn_page import THREE, TWO_ONES, DrawnPage, build, download_to, predict, train_networks

pytestmark = pytest.mark.slow

EVERY_LAYER = {
    **{"channels": [4, 6], "convolutions": 2, "kernel_size": 3, "padding": 1, "global_avg_pool": True},
    **{"hidden_sizes": [16], "activation": "tanh", "batch_norm": True, "dropout": 0.1},
}
SCREENS = {"phone": (360, 740), "large phone": (400, 800), "tablet": (820, 1100), "laptop": (1280, 720)} | {
    "projector": (1920, 1080)
}


@pytest.fixture(scope="module")
def dense(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after `dvc repro` and `make draw`."""
    project = finished.copy(tmp_path_factory.mktemp("dense") / "project")
    build(project)
    return project


@pytest.fixture(scope="module")
def convolutional(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same with networks that have every kind of layer."""
    project = finished.copy(tmp_path_factory.mktemp("convolutional") / "project")
    train_networks(project, EVERY_LAYER)
    build(project)
    return project


@pytest.fixture(params=["dense", "convolutional"])
def project(request: pytest.FixtureRequest) -> Project:
    """Either project."""
    either: Project = request.getfixturevalue(request.param)
    return either


@pytest.fixture
def page(browser: webdriver.Chrome, project: Project) -> Iterator[DrawnPage]:
    """The page of either project on a laptop. It must write nothing into the console and request nothing."""
    page = DrawnPage(browser, (project.folder / "draw.html").as_uri())
    page.resize(*SCREENS["laptop"])
    yield page
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert page.console() == []
    events = [json.loads(entry["message"])["message"] for entry in messages(browser, "performance")]
    requests = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    assert [address for address in requests if not address.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.parametrize("pointer", ["mouse", "touch"])
def test_strokes_are_read_as_python_reads_the_image_that_the_page_shows(
    page: DrawnPage, project: Project, pointer: str
) -> None:
    assert page.text("#hint") == "Draw a digit here"
    assert page.texts(".digit") == ["–", "–"]
    page.draw(THREE, pointer)
    assert np.count_nonzero(page.seen()) > 50
    answers = []
    for engine, probabilities in page.probabilities().items():
        expected = predict(project, engine, page.seen())
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        answers.append(str(expected.argmax()))
        assert page.text(f".card[data-engine={engine}] .digit") == answers[-1]
        confidence = float(page.text(f".card[data-engine={engine}] .confidence").strip("> \u00a0%"))
        assert confidence == pytest.approx(100 * expected.max(), abs=0.06)
        bars = page.run(
            """return [...document.querySelectorAll(arguments[0])].map(
                bar => parseFloat(bar.style.getPropertyValue("--value")))""",
            f".bars td[data-engine={engine}] i",
        )
        np.testing.assert_allclose(bars, 100 * expected, atol=1e-3)
    agreement = f"They agree: {answers[0]}." if answers[0] == answers[1] else "They disagree: PyTorch reads"
    assert page.text("#status").startswith(agreement)
    assert page.text("#hint") == ""
    page.wait_until("document.getElementById('announcement').textContent.startsWith('They')")


def test_every_view_draws_for_both_networks(page: DrawnPage) -> None:
    assert {*page.count_colors("#pixels canvas"), *page.count_colors(".network.chosen .layer canvas")} == {1}
    page.draw(THREE)
    assert min(page.count_colors("#pixels canvas, #seen canvas")) > 5
    for number, engine in enumerate(("torch", "scratch")):
        page.click(".choice label", number)
        assert page.texts(".network.chosen h3") == [["PyTorch", "NumPy"][number]]  # shown on wide screens
        colors = page.count_colors(f"[data-engine={engine}] .layer canvas")
        assert len(colors) >= 4
        assert np.median(colors) > 3  # a map or two may be flat
        layers = page.run(
            "return page.networks[arguments[0]].layers.map(layer => layerName(layer).replaceAll('\\u00a0', ' '))",
            number,
        )
        names = [name.replace("\u00a0", " ") for name in page.texts(f"[data-engine={engine}] .layer h4")]
        assert names == ["Input 28 × 28", *layers]
        assert all(page.texts(f"[data-engine={engine}] .layer .sentence"))


def test_undo_and_clear_take_back_strokes_and_loads(page: DrawnPage) -> None:
    page.draw(THREE)
    drawn, answer = page.seen(), page.probabilities()
    page.draw([[(60, 60), (100, 100)]])
    assert (page.seen() != drawn).any()
    page.click("#undo")
    assert (page.seen() == drawn).all()
    assert page.probabilities() == answer
    page.click(".thumbnail")
    assert (page.seen() != drawn).any()
    ActionChains(page.browser).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    page.wait_for_frame()
    assert (page.seen() == drawn).all()
    page.click("#clear")
    assert page.probabilities() == {}
    assert page.texts(".digit") == ["–", "–"]
    assert page.text("#hint") == "Draw a digit here"
    assert not page.seen().any()
    page.click("#undo")
    assert (page.seen() == drawn).all()
    for _ in THREE:
        page.click("#undo")
    assert page.probabilities() == {}
    assert not page.browser.find_element("id", "undo").is_enabled()


def test_two_digits_are_refused(page: DrawnPage) -> None:
    page.draw(TWO_ONES)
    assert page.text("#status") == "2 digits: draw one."
    assert page.probabilities() == {}
    assert page.texts(".digit") == ["–", "–"]
    page.click("#undo")
    assert set(page.probabilities()) == {"torch", "scratch"}


def test_a_click_in_the_gallery_shows_the_networks_that_very_test_image(page: DrawnPage, project: Project) -> None:
    images, labels = read_split(project.folder / "data/raw", "test")
    wrong = {}
    for engine in ("torch", "scratch"):
        title, *_ = page.texts(f"#gallery [data-engine={engine}] h3")
        captions = page.texts(f"#gallery [data-engine={engine}] .thumbnail span")
        page.click(f"#gallery [data-engine={engine}] .thumbnail")
        (index,) = np.flatnonzero((images == page.seen()).all(axis=(1, 2)))[:1]
        expected = predict(project, engine, images[index])
        np.testing.assert_allclose(page.probabilities()[engine], expected, atol=1e-5)
        assert captions[0].startswith(f"{labels[index]}, read as {expected.argmax()} (")
        assert expected.argmax() != labels[index]
        wrong[engine] = title
        everything = np.array([predict(project, engine, image).argmax() for image in images]) != labels
        assert title.endswith(
            (f": {everything.sum()}, most confident first", f" of {everything.sum()}, most confident first")
        )
    page.click("#gallery section:last-child .thumbnail")
    answers = [int(np.argmax(each)) for each in page.probabilities().values()]
    assert answers == [int(page.texts("#gallery section:last-child .thumbnail span")[0])] * 2
    page.draw([[(140, 100), (150, 110)]])  # what is drawn on it is prepared with it
    assert not (images == page.seen()).all(axis=(1, 2)).any()


def test_a_unit_that_is_clicked_shows_how_its_number_comes_about_and_follows_the_drawing(page: DrawnPage) -> None:
    page.draw(THREE)
    page.click(".network.chosen .layer:last-of-type canvas")
    position = int(page.text(".unit h5").split()[-1])

    def weighted_sum() -> float:
        """Of the unit in the page's network; the panel must show it."""
        script = """const {weights, inputs, bias, output} = page.networks[0].unit(page.networks[0].layers.length - 1,
            arguments[0]); return [[...weights], [...inputs], bias, output]"""
        weights, inputs, bias, output = page.run(script, position)
        total = float(np.dot(weights, inputs))
        assert total + bias == pytest.approx(output, abs=1e-4)
        equation = page.text(".unit .equation").replace("−", "-")
        assert equation.startswith("sum ")
        shown = [float(number) for number in re.findall(r"-?\d+\.\d+", equation)]
        np.testing.assert_allclose(shown, [total, bias, output], atol=0.006)
        return total

    before = weighted_sum()
    assert len(page.count_colors(".unit canvas")) == 3
    assert min(page.count_colors(".unit canvas")) > 1
    products = "document.querySelectorAll('.unit canvas')[2].toDataURL()"
    drawn = page.run(f"return {products}")
    page.draw([[(60, 60), (100, 100)]])
    assert weighted_sum() != before
    assert page.run(f"return {products}") != drawn
    page.click("#clear")
    assert page.text(".unit .sentence").startswith("Draw a digit")
    page.draw(THREE)
    assert weighted_sum() == before
    assert page.run(f"return {products}") == drawn
    page.click(".unit .close")
    assert page.texts(".unit") == []


def test_every_kind_of_layer_explains_a_unit(page: DrawnPage) -> None:
    page.draw(THREE)
    first = ".network.chosen .layer .field[tabindex] .tile:first-child canvas"
    count = len(page.browser.find_elements("css selector", first))
    assert count >= 3
    for number in range(count):
        page.click(first, number)
        assert len(page.texts(".unit .equation")) == 1
        assert any(character.isdigit() for character in page.text(".unit .equation"))
        assert "NaN" not in page.text(".unit")
        page.click(".unit .close")


def test_pixels_speak_for_the_class_whose_bar_is_clicked(page: DrawnPage) -> None:
    page.draw(THREE)
    page.scroll_to("#pixels")
    answer = int(page.text(".card[data-engine=torch] .digit"))
    other = (answer + 1) % 10
    captions = page.texts("#pixels [data-engine] figcaption")
    assert captions[0] == f"PyTorch, for {answer}"
    page.click(".bars tbody tr", other)
    assert page.texts("#pixels [data-engine] figcaption") == [f"PyTorch, for {other}", f"NumPy, for {other}"]
    page.click(".bars tbody tr", other)
    assert page.texts("#pixels [data-engine] figcaption") == captions
    page.click(".classes-choice button", 1 + other)
    assert page.texts("#pixels [data-engine] figcaption")[0] == f"PyTorch, for {other}"
    contributions, pixels = page.run(
        """const network = page.networks[0], pixels = page.pixels.pixels, gradient = network.gradient(arguments[0]);
        return [[...gradient].map((slope, i) => slope * pixels[i] / 255 / network.std), [...pixels]]""",
        other,
    )
    positive = sum(each for each in contributions if each > 0)
    sums = page.text("#pixels [data-engine=torch] .sums").replace("−", "-")
    assert float(sums.split(",")[0].removeprefix("for +")) == pytest.approx(positive, abs=0.006)
    assert not any(each for each, pixel in zip(contributions, pixels, strict=True) if not pixel)


def test_the_page_can_be_used_without_a_pointer(page: DrawnPage) -> None:
    keys = ActionChains(page.browser)

    def press(*pressed: str) -> None:
        keys.send_keys(*pressed).perform()
        page.wait_for_frame()

    def press_tab_until(expression: str) -> None:
        for _ in range(120):
            press(Keys.TAB)
            if page.run(f"const it = document.activeElement; return {expression}"):
                outline = page.run("return getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none"
                return
        raise AssertionError(f"Tab does not reach it: {expression}")

    press_tab_until("it.id === 'pad'")
    press(Keys.SPACE, *[Keys.ARROW_DOWN] * 14, Keys.SPACE)
    answer = page.probabilities()
    assert set(answer) == {"torch", "scratch"}
    assert page.texts("#announcement")[0]
    press(Keys.ARROW_LEFT, Keys.SPACE, *[Keys.ARROW_RIGHT] * 5, Keys.SPACE)
    assert page.probabilities() != answer
    press_tab_until("it.id === 'undo'")
    press(Keys.ENTER)
    assert page.probabilities() == answer
    press_tab_until("it.matches('.bars button')")
    press(Keys.ENTER)
    page.scroll_to("#pixels")
    assert page.text("#pixels [data-engine=torch] figcaption") == "PyTorch, for 0"
    press_tab_until("it.matches('.network.chosen .field')")
    press(Keys.ARROW_RIGHT)
    assert page.text(".network.chosen .readout:not(:empty)").split(":")[0].endswith(("unit 1", "row 0, column 1"))
    press(Keys.ENTER)
    assert page.texts(".unit h5")[0].endswith(("unit 1", "row 0, column 1"))
    press_tab_until("it.matches('.unit .close')")
    press(Keys.ESCAPE)
    assert page.texts(".unit") == []
    press_tab_until("it.matches('.thumbnail')")
    press(Keys.ENTER)
    assert page.probabilities() != answer


def test_on_a_phone_loading_a_test_image_goes_to_the_canvas(page: DrawnPage) -> None:
    page.resize(*SCREENS["phone"])
    page.click("#gallery .thumbnail")
    assert page.run("return document.activeElement.id") == "pad"
    page.wait_until("isOnScreen(document.getElementById('pad'))")


def test_the_command_reads_the_saved_drawing_as_the_page_does(
    page: DrawnPage, project: Project, tmp_path: Path
) -> None:
    download_to(page.browser, tmp_path)
    page.draw(THREE)
    page.click("#save")
    wait_until((tmp_path / "digit.png").exists, 30)
    image = np.array(Image.open(tmp_path / "digit.png").convert("L"))
    assert image.shape == (280, 280)
    assert 0.02 < np.mean(image < 128) < 0.3  # black on white
    command = (sys.executable, "-m", "stages.tools.predict", str(tmp_path / "digit.png"))
    (read,) = json.loads(project.run(*command, "--json", "--save", str(tmp_path / "seen")).stdout)
    for engine, probabilities in page.probabilities().items():
        first = read["answers"][engine][0]
        assert first["answer"] == page.text(f".card[data-engine={engine}] .digit")
        assert first["confidence"] == pytest.approx(max(probabilities), abs=1e-5)
    assert (np.array(Image.open(read["saved"][0])) == page.seen()).all()


@pytest.mark.parametrize("screen", SCREENS)
def test_the_page_fits_the_screen(page: DrawnPage, screen: str) -> None:
    width, height = SCREENS[screen]
    page.resize(width, height)
    page.draw(THREE)
    page.click(".network.chosen .layer:last-of-type canvas")
    scrolling = """return [...document.querySelectorAll("body *:not(.hidden, .hidden *)")].filter(element =>
        element.scrollWidth > Math.max(element.clientWidth, 1) + 1 && getComputedStyle(element).display !== "inline"
        && element.offsetParent).map(element => element.outerHTML.slice(0, 99))"""
    assert page.run(scrolling) == []
    assert page.run("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    beyond = """return [...document.querySelectorAll("canvas, button, h2, h3, h4, p")].filter(element => {
        const {left, right} = element.getBoundingClientRect(); return left < 0 || right > innerWidth;
    }).map(element => element.outerHTML.slice(0, 99))"""
    assert page.run(beyond) == []
    tops = """return [...document.querySelectorAll(".network.chosen .maps")].map(field =>
        new Set([...field.children].slice(0, 4).map(tile => tile.getBoundingClientRect().top)).size)"""
    assert set(page.run(tops)) <= {1}  # the first four maps of a layer stand side by side
    seen_with_the_layers = page.run(
        """const field = document.querySelector(".network.chosen .layer:last-of-type .field");
        field.scrollIntoView({block: "center", behavior: "instant"});
        return isOnScreen(field) && isOnScreen(document.getElementById("pad"))"""
    )
    assert seen_with_the_layers == (width > 1000)
    assert len(page.browser.find_elements("css selector", ".network")) == 2
    shown = [each for each in page.browser.find_elements("css selector", ".network") if each.is_displayed()]
    assert len(shown) == (2 if screen == "projector" else 1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("drawn", [True, False], ids=["drawn", "empty"])
def test_every_text_has_the_contrast_of_wcag_aa(page: DrawnPage, scheme: str, drawn: bool) -> None:
    page.prefer(scheme)
    if drawn:
        page.draw(THREE)
        page.click(".network.chosen .layer:last-of-type canvas")
    ratios = page.run(CONTRAST)
    assert len(ratios) > 50
    assert [(text, ratio) for text, ratio, enough in ratios if ratio < enough] == []
    dark = page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 23)"
    assert dark == (scheme == "dark")


# The contrast of every element with a text of its own, as https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio defines it,
# and what it must have: 3 for large text, else 4.5. The browser itself turns every notation of a color into bytes.
CONTRAST = """
const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const bytes = color => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
};
const luminance = color => {
    const [r, g, b] = color.map(byte => byte / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const background = element => {
    const color = bytes(getComputedStyle(element).backgroundColor);
    return color[3] === 255 ? color : background(element.parentElement);
};
const texts = [...document.querySelectorAll("body *:not(script)")].filter(element => element.offsetParent
    && [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.textContent.trim()));
return texts.map(element => {
    const style = getComputedStyle(element), size = parseFloat(style.fontSize);
    const two = [bytes(style.color), background(element)].map(luminance).sort((a, b) => b - a);
    const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    return [element.textContent.slice(0, 40), (two[0] + 0.05) / (two[1] + 0.05), isLarge ? 3 : 4.5];
});
"""
