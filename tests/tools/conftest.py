"""The browser in which the pages are tested."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.browser import find_browser, started_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """Skips where Chromium or its driver is not installed."""
    programs = find_browser()
    if not programs:
        pytest.skip("no browser: install chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    with started_browser(*programs) as chrome:
        yield chrome
