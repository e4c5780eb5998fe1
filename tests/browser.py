"""Chromium without a window and without a network, driven as a user drives it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selenium import webdriver


def find_browser() -> tuple[str, str] | None:
    """The programs of Chromium and of its driver; None where one of them is not installed."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (program, driver) if program and driver else None


@contextmanager
def started_browser(program: str, driver: str) -> Iterator[webdriver.Chrome]:
    """A browser that keeps its console messages and a log of its requests."""
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--proxy-server=127.0.0.1:1"):
        options.add_argument(argument)  # nothing listens on port 1
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as chrome:
        chrome.set_network_conditions(offline=True, latency=0, throughput=0)
        yield chrome


def messages(browser: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    """What was logged since the last call: ``browser`` for the console, ``performance`` for requests."""
    log: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]  # selenium does not say
    return log
