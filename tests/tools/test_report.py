"""The page of `make plots` in a real browser whose network is cut: every chart is drawn, and nothing is requested."""

import json
import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from stages.evaluation.figures.style import ENGINE_COLORS
from tests.browser import messages
from tests.charts import Chart, collect_charts
from tests.project import Project, copy_project

pytestmark = pytest.mark.slow

EXPERIMENT = "an-experiment-with-a-rather-long-name"
SECTIONS = {  # and DVC's plots that are on the page; all others would show something for the second time
    "Learning curves": ["validation loss", "validation accuracy", "training loss", "training accuracy"]
    + [f"plots/{engine}/history.csv" for engine in ENGINE_COLORS],
    "Accuracy by class, and confusions": ["accuracy by class"]
    + [f"plots/{engine}/{table}.csv" for table in ("confusion", "confusions", "mistakes") for engine in ENGINE_COLORS],
}
IMAGES = ["mistakes", "parity", "reliability", "weights"]
CHARTS = {chart.name: chart for chart in collect_charts()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The committed results, and in the workspace histories of one epoch less.

    A branch has another value in params.yaml and metrics/summary.json, and one other figure.
    """
    project = copy_project(tmp_path_factory.mktemp("project"))
    project.run("git", "checkout", "--quiet", "-b", EXPERIMENT)
    project.set({"optimizer.weight_decay": "0.2"})
    change_metric(project, 0.01)
    shutil.copy(project.folder / "plots/images/weights.png", project.folder / "plots/images/parity.png")
    project.commit("Experiment")
    project.run("git", "checkout", "--quiet", "-")
    for engine in ENGINE_COLORS:
        path = project.folder / f"plots/{engine}/history.csv"
        pd.read_csv(path)[:-1].to_csv(path, index=False)
    return project


def change_metric(project: Project, difference: float) -> str:
    """Add to the first number of metrics/summary.json. Returns the text of the number before."""
    path = project.folder / "metrics/summary.json"
    found = re.search(r"[\d.]+(?=,?\n)", path.read_text())
    assert found
    path.write_text(path.read_text().replace(found[0], str(float(found[0]) + difference), 1))
    return found[0]


def make_page(project: Project, *revisions: str) -> str:
    """The address that `make plots` prints."""
    page = project.run(sys.executable, "-m", "stages.tools.report", *revisions).stdout.splitlines()[-1]
    assert page == (project.folder / "dvc_plots/index.html").as_uri()
    return page


def opened(browser: webdriver.Chrome, page: str) -> tuple[list[WebElement], list[str], list[str]]:
    """Open a page. Returns its charts, its console messages, and the addresses that it requests outside itself."""
    for kind in ("browser", "performance"):
        messages(browser, kind)
    browser.get(page)
    WebDriverWait(browser, 30).until(lambda _: browser.execute_script("return document.readyState") == "complete")
    console: list[str] = []

    def finished(_: webdriver.Chrome) -> bool:
        console.extend(entry["message"] for entry in messages(browser, "browser"))
        return bool(console) or all(chart.find_elements("css selector", "svg, canvas") for chart in charts)

    charts = browser.find_elements("css selector", ".chart, body > div[id]:not(:has(img))")  # ours, or DVC's
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


def count_rows(project: Project, file: str, revision: str) -> int:
    content = project.run("git", "show", f"{revision}:{file}").stdout if revision else project.read(file).decode()
    return len(content.splitlines()) - 1


def expected_marks(project: Project, chart: Chart, revisions: list[str]) -> dict[str, int]:
    """The number of marks of each kind: histories differ between revisions, what else is drawn is the same in all."""
    revisions = revisions if "history" in chart.files[0] else revisions[-1:]
    rows = sum(count_rows(project, file, revision) for file in chart.files for revision in revisions)
    lines = len(chart.files) * len(revisions)
    return {
        "curves": {"line": lines, "symbol": rows + lines},  # and a ring on each line
        "schedule": {"line": lines, "symbol": rows},
        "confusion": {"rect": rows, "text": rows},
        "classes": {"rule": rows, "symbol": rows, "text": 0},
        "confusions": {"rect": rows, "text": rows},
        "mistakes": {"rect": rows},
    }[chart.properties["template"]]


def texts(elements: list[WebElement]) -> list[str]:
    return [element.text for element in elements]


@pytest.mark.parametrize("revisions", [[""], ["HEAD", ""]], ids=["workspace", "HEAD and workspace"])
def test_every_result_is_drawn_once_without_a_network(
    browser: webdriver.Chrome, project: Project, revisions: list[str]
) -> None:
    charts, console, foreign = opened(browser, make_page(project, *filter(None, revisions)))
    assert (console, foreign) == ([], [])
    assert texts(browser.find_elements("css selector", "section:has(.chart) > h2")) == list(SECTIONS)
    names = [name for section in SECTIONS.values() for name in section]
    assert len(charts) == len(names)
    for drawn, chart in zip(charts, map(CHARTS.__getitem__, names), strict=True):
        expected = expected_marks(project, chart, revisions)
        assert {marks: count_marks(drawn, marks) for marks in expected} == expected, chart.name
        assert chart.properties["title"] in drawn.text
    images = browser.find_elements("css selector", "img")
    assert [Path(image.get_attribute("src") or "").stem.split("_")[-1] for image in images] == IMAGES
    assert all(int(image.get_attribute("naturalWidth") or 0) > 0 for image in images)
    assert all(len(image.get_attribute("alt") or "") > 40 for image in images)


def test_metrics_and_parameters_are_compared(browser: webdriver.Chrome, project: Project) -> None:
    opened(browser, make_page(project, EXPERIMENT))
    metrics, parameters, others = browser.find_elements("css selector", "table")
    assert texts(metrics.find_elements("css selector", "thead th")) == [EXPERIMENT, "workspace"]
    first = metrics.find_element("css selector", "tbody tr").text
    number = float(re.findall(r"[\d.]+", project.read("metrics/summary.json").decode())[0])
    assert first.endswith(f"{number + 0.01:.2%} {number:.2%} (-1.00%)"), first
    assert texts(parameters.find_elements("css selector", "tbody tr")) == ["optimizer.weight_decay 0.2 0.1"]
    assert "network.hidden_sizes" in str(others.get_attribute("textContent"))


def test_images_that_differ_are_shown_for_each_revision_and_equal_ones_once(
    browser: webdriver.Chrome, project: Project
) -> None:
    opened(browser, make_page(project, "HEAD", EXPERIMENT))
    everything = f"HEAD, {EXPERIMENT}, workspace"
    expected = [everything, "HEAD, workspace", EXPERIMENT, everything, everything]
    assert texts(browser.find_elements("css selector", "figcaption")) == expected


def test_the_page_is_one_column_on_a_phone_and_nothing_scrolls_sideways(
    browser: webdriver.Chrome, project: Project
) -> None:
    page = make_page(project, "HEAD", EXPERIMENT)
    phone = {"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        charts, *_ = opened(browser, page)
        scrolling = """return [...document.querySelectorAll("html, body *:not(svg *)")].filter(element =>
            element.scrollWidth > Math.max(element.clientWidth, 1) && getComputedStyle(element).display !== "inline"
            && !element.closest("details")).map(element => element.outerHTML.slice(0, 99))"""
        assert browser.execute_script(scrolling) == []
        assert browser.execute_script("return document.documentElement.scrollWidth") == 360
        drawings = browser.find_elements("css selector", "svg.marks, img")
        assert len(drawings) > len(charts)
        assert all(0 <= each.rect["x"] and each.rect["x"] + each.rect["width"] <= 360 for each in drawings)
        tops = [each.rect["y"] for each in drawings]
        assert all(lower - upper > 100 for upper, lower in pairwise(tops))  # below each other
        scale = "const s = arguments[0]; return s.clientWidth / s.viewBox.baseVal.width"
        svgs = [each for each in drawings if each.tag_name == "svg"]
        assert min(browser.execute_script(scale, svg) for svg in svgs) > 0.85  # readable
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_shows_what_there_is_while_results_are_made_again(
    browser: webdriver.Chrome, project: Project, tmp_path: Path
) -> None:
    running = project.copy(tmp_path / "running")
    for name in ("metrics/summary.json", "plots/images", "plots/torch/history.csv", "plots/scratch/classes.csv"):
        path = running.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    charts, console, _ = opened(browser, make_page(running))
    assert console == []
    assert count_marks(charts[0], "line") == 1
    assert not browser.find_elements("css selector", "img")
    assert len(charts) > 5


def test_an_unknown_revision_ends_with_dvcs_message(project: Project) -> None:
    done = project.run(sys.executable, "-m", "stages.tools.report", "no-such-revision", check=False)
    assert done.returncode != 0
    assert "no-such-revision" in done.stdout
    assert "Traceback" not in done.stdout


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
