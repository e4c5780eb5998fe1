"""The page of `make plots` in a real browser whose network is cut: every chart is drawn, and nothing is requested."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from stages.evaluation.figures.style import ENGINE_COLORS
from tests.charts import Chart, collect_charts
from tests.project import Project, copy_project

pytestmark = pytest.mark.slow

CHARTS = collect_charts()
COLORS = {
    engine: f"rgb({', '.join(str(int(rgb[i : i + 2], 16)) for i in (1, 3, 5))})"
    for engine, rgb in ENGINE_COLORS.items()
}


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium without a window and without a network. Skips where it or its driver is not installed."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no browser: install chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--proxy-server=127.0.0.1:1"):
        options.add_argument(argument)  # nothing listens on port 1
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as chrome:
        chrome.set_network_conditions(offline=True, latency=0, throughput=0)
        yield chrome


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The committed results, and in the workspace another history of one epoch less."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    for engine in ENGINE_COLORS:
        path = project.folder / f"plots/{engine}/history.csv"
        pd.read_csv(path)[:-1].to_csv(path, index=False)
    return project


def messages(browser: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]  # selenium does not say
    return log


def opened(browser: webdriver.Chrome, page: str) -> tuple[list[WebElement], list[str], list[str]]:
    """Open a page. Returns its charts, its console messages, and the addresses that it requests outside itself."""
    for kind in ("browser", "performance"):
        messages(browser, kind)
    browser.get(page)
    console: list[str] = []

    def finished(_: webdriver.Chrome) -> bool:
        console.extend(entry["message"] for entry in messages(browser, "browser"))
        return bool(console) or all(chart.find_elements("css selector", "svg, canvas") for chart in charts)

    charts = browser.find_elements("css selector", "body > div[id]:not(:has(img))")
    WebDriverWait(browser, 30).until(finished)
    finished(browser)  # the last messages
    events = [json.loads(entry["message"])["message"] for entry in messages(browser, "performance")]
    addresses = [
        event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
    ]
    foreign = [address for address in addresses if not address.startswith(("file:", "data:", "blob:"))]
    return charts, console, foreign


def count_marks(chart: WebElement, marks: str) -> int:
    """The number of marks of a kind that are drawn, those that have a shape or a text."""
    script = """return [...arguments[0].querySelectorAll(arguments[1])].filter(
        mark => mark.getAttribute("d") || mark.textContent || mark.tagName === "line").length"""
    number: int = chart.parent.execute_script(script, chart, f"svg g.mark-{marks}.role-mark > :is(path, text, line)")
    return number


def drawn_colors(chart: WebElement) -> set[str]:
    """The colors in which a chart's marks are filled and stroked."""
    script = """return [...arguments[0].querySelectorAll("svg g.role-mark > path")].flatMap(
        mark => [getComputedStyle(mark).fill, getComputedStyle(mark).stroke])"""
    return set(chart.parent.execute_script(script, chart))


def count_rows(project: Project, file: str, revisions: list[str]) -> int:
    contents = [
        project.run("git", "show", f"{revision}:{file}").stdout if revision else project.read(file).decode()
        for revision in revisions
    ]
    return sum(len(content.splitlines()) - 1 for content in contents)


def expected_marks(project: Project, chart: Chart, revisions: list[str]) -> dict[str, int]:
    """The number of marks of each kind that a chart's template makes of its files."""
    rows = sum(count_rows(project, file, revisions) for file in chart.files)
    return {
        "curves": {"line": len(chart.files) * len(revisions), "symbol": rows},
        "confusion": {"rect": rows, "text": rows},
        "classes": {"rect": rows, "rule": rows},
        "confusions": {"rect": rows, "text": rows},
        "parity": {"symbol": 2 * rows},
    }[chart.properties["template"]]


@pytest.mark.parametrize("revisions", [[""], ["HEAD", ""]], ids=["workspace", "HEAD and workspace"])
def test_every_chart_is_drawn_without_a_network(
    browser: webdriver.Chrome, project: Project, revisions: list[str]
) -> None:
    named = [revision for revision in revisions if revision]
    page = project.run(sys.executable, "-m", "stages.tools.report", *named).stdout.splitlines()[-1]
    assert page == (project.folder / "dvc_plots/index.html").as_uri()
    charts, console, foreign = opened(browser, page)
    assert (console, foreign) == ([], [])
    assert len(charts) == len(CHARTS)
    for drawn, chart in zip(charts, CHARTS, strict=True):
        expected = expected_marks(project, chart, revisions)
        assert {marks: count_marks(drawn, marks) for marks in expected} == expected, chart.name
        assert chart.properties["title"] in drawn.text
        if chart.properties["template"] in ("curves", "classes"):
            assert drawn_colors(drawn) >= {COLORS[Path(file).parent.name] for file in chart.files}, chart.name
    images = browser.find_elements("css selector", "img")
    assert len(images) == len(revisions) * len(list((project.folder / "plots/images").glob("*.png")))
    assert all(int(image.get_attribute("naturalWidth") or 0) > 0 for image in images)


def test_the_page_fits_a_phone_and_its_charts_stay_readable(browser: webdriver.Chrome, project: Project) -> None:
    page = project.run(sys.executable, "-m", "stages.tools.report", "HEAD").stdout.splitlines()[-1]
    phone = {"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    charts, *_ = opened(browser, page)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360
    scales = [
        browser.execute_script("const s = arguments[0]; return s.clientWidth / s.viewBox.baseVal.width", svg)
        for chart in charts
        for svg in chart.find_elements("css selector", "svg.marks")
    ]
    assert len(scales) == len(CHARTS)
    assert min(scales) > 0.74  # wider ones scroll
    images = browser.find_elements("css selector", "img")
    assert all(300 < image.size["width"] <= 360 for image in images)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_without_its_scripts_the_page_would_fail_this(browser: webdriver.Chrome, project: Project) -> None:
    """DVC's own page requests Vega from a server: so the network is really cut, and the test above would see it."""
    page = project.dvc("plots", "show", "--out", "dvc_plots/online").splitlines()[-1]
    charts, console, foreign = opened(browser, page)
    assert any("vega" in address for address in foreign)
    assert any("vegaEmbed is not defined" in message for message in console)
    assert not any(chart.find_elements("css selector", "svg, canvas") for chart in charts)


def test_the_page_is_one_that_git_ignores(project: Project) -> None:
    assert "dvc_plots" not in project.run("git", "status", "--porcelain", "--untracked-files=all").stdout
    assert Path(project.folder / "dvc_plots/index.html").exists()
