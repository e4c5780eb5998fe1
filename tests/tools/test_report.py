"""The page of `make plots` in a real browser whose network is cut: every chart is drawn, and nothing is asked for."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from stages.evaluation.figures.style import ENGINE_COLOURS
from tests.imports import ROOT
from tests.project import Project, copy_project

pytestmark = pytest.mark.slow

CHARTS = [
    (name, properties)
    for entry in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    if isinstance(entry, dict)
    for name, properties in entry.items()
]
COLOURS = [f"rgb({', '.join(str(int(rgb[i : i + 2], 16)) for i in (1, 3, 5))})" for rgb in ENGINE_COLOURS.values()]


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
    for engine in ENGINE_COLOURS:
        path = project.folder / f"plots/{engine}/history.csv"
        pd.read_csv(path)[:-1].to_csv(path, index=False)
    return project


def messages(browser: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]  # selenium does not say
    return log


def opened(browser: webdriver.Chrome, page: str) -> tuple[list[WebElement], list[str], list[str]]:
    """Open a page. Returns its charts, what it says on the console, and the addresses it asks for outside itself."""
    for kind in ("browser", "performance"):
        messages(browser, kind)
    browser.get(page)
    console: list[str] = []

    def finished(_: webdriver.Chrome) -> bool:
        console.extend(entry["message"] for entry in messages(browser, "browser"))
        return bool(console) or all(chart.find_elements("css selector", "svg, canvas") for chart in charts)

    charts = browser.find_elements("css selector", "body > div[id]:not(:has(img))")
    WebDriverWait(browser, 30).until(finished)
    finished(browser)  # what was said last
    events = [json.loads(entry["message"])["message"] for entry in messages(browser, "performance")]
    addresses = [
        event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
    ]
    foreign = [address for address in addresses if not address.startswith(("file:", "data:", "blob:"))]
    return charts, console, foreign


def number(chart: WebElement, marks: str) -> int:
    """How many marks of a kind are drawn, those that have a shape or a text."""
    drawn = chart.find_elements("css selector", f"svg g.{marks} > :is(path, text, line)")
    return sum(1 for mark in drawn if mark.get_attribute("d") or mark.text or mark.tag_name == "line")


def rows(project: Project, file: str, revisions: list[str]) -> int:
    contents = [
        project.run("git", "show", f"{revision}:{file}").stdout if revision else project.read(file).decode()
        for revision in revisions
    ]
    return sum(len(content.splitlines()) - 1 for content in contents)


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
    for chart, (name, properties) in zip(charts, CHARTS, strict=True):
        points = sum(rows(project, file, revisions) for file in properties["y"])
        lines = len(properties["y"]) * len(revisions)
        expected = {
            "curves": {"mark-line.role-mark": lines, "mark-symbol.role-mark": points},
            "confusion": {"mark-rect.role-mark": points, "mark-text.role-mark": points},
            "classes": {"mark-rect.role-mark": points, "mark-rule.role-mark": points},
        }[properties["template"]]
        assert {marks: number(chart, marks) for marks in expected} == expected, name
        assert properties["title"] in chart.text
        if properties["template"] != "confusion":
            fills = {
                mark.value_of_css_property(kind)
                for mark in chart.find_elements("css selector", "svg g.role-mark > path")
                for kind in ("fill", "stroke")
            }
            assert set(COLOURS) <= fills, name
    pictures = browser.find_elements("css selector", "img")
    assert len(pictures) == len(revisions) * len(list((project.folder / "plots/images").glob("*.png")))
    assert all(int(picture.get_attribute("naturalWidth") or 0) > 0 for picture in pictures)


def test_without_its_scripts_the_page_would_fail_this(browser: webdriver.Chrome, project: Project) -> None:
    """DVC's own page asks a server for Vega: so the network is really cut, and the test above would see it."""
    page = project.dvc("plots", "show", "--out", "dvc_plots/online").splitlines()[-1]
    charts, console, foreign = opened(browser, page)
    assert any("vega" in address for address in foreign)
    assert any("vegaEmbed is not defined" in message for message in console)
    assert not any(chart.find_elements("css selector", "svg, canvas") for chart in charts)


def test_the_page_is_one_that_git_ignores(project: Project) -> None:
    assert "dvc_plots" not in project.run("git", "status", "--porcelain", "--untracked-files=all").stdout
    assert Path(project.folder / "dvc_plots/index.html").exists()
