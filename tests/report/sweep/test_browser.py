"""The page in a real browser, from the file system: no complaint, no request, and its script does what it says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compress.report.sweep.evidence import gather
from compress.report.sweep.page import write_page
from compress.report.sweep.runs import Run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the path")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, runs: list[Run], tmp_path: Path) -> Iterator[Any]:
    write_page(gather([tmp_path / "sweep"], None), tmp_path / "page.html")
    opened = browser.new_page()
    opened.set_default_timeout(120_000)
    opened.complaints, opened.requests = [], []
    opened.on("console", lambda message: opened.complaints.append(message.text))
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.goto((tmp_path / "page.html").as_uri())
    yield opened
    opened.close()


def names(page: Any) -> list[str]:
    """The runs that the table shows, from the top."""
    return page.locator(".runs tbody tr:visible th").all_inner_texts()


def drawn(page: Any) -> list[str]:
    """The runs whose points are not faded, in the picture of speed."""
    marks = page.locator("#picture-speed .mark:not(.off)")
    return sorted(marks.evaluate_all("marks => marks.map(mark => mark.dataset.run)"))


def test_it_loads_without_a_complaint_or_a_request(page: Any, tmp_path: Path) -> None:
    assert page.complaints == []
    assert page.requests == [(tmp_path / "page.html").as_uri()]
    assert drawn(page) == ["0", "1", "2", "3"]
    assert page.locator("#picture-bytes .mark").count() == 4
    # The check itself can fail: the page's policy lets no other script run, and the browser says so.
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.x = 1'}))"
    )
    assert page.evaluate("window.x") is None
    assert any("Content Security Policy" in text for text in page.complaints)


def test_a_click_filters_and_another_narrows_it_down(page: Any) -> None:
    page.get_by_role("button", name="dynamic", exact=True).click()
    assert (drawn(page), names(page)) == (["1", "2"], ["1", "2", "4"])
    assert page.locator("#shown").inner_text() == "3 of 6 runs shown"
    assert page.locator(".legend .off").count() == 0
    page.get_by_role("button", name="0.75", exact=True).click()
    assert (drawn(page), names(page)) == (["1"], ["1"])
    # Values of one setting add up.
    page.get_by_role("button", name="0.5", exact=True).click()
    assert names(page) == ["1", "2"]
    page.get_by_role("button", name="Show all").click()
    assert (drawn(page), len(names(page))) == (["0", "1", "2", "3"], 6)
    assert not page.get_by_role("button", name="Show all").is_visible()


def test_a_click_filters_by_how_a_run_ended(page: Any) -> None:
    page.locator('.chip[data-group="status"]', has_text="broke").click()
    assert (drawn(page), names(page)) == ([], ["4"])


def test_a_click_on_a_header_sorts_and_a_second_turns_it(page: Any) -> None:
    speed = page.locator(".runs thead th", has_text="times as fast")
    speed.get_by_role("button").click()
    assert speed.get_attribute("aria-sort") == "descending"
    # 6, 4, then 3 twice in the order before; runs without a number last, either way.
    assert names(page) == ["2", "1", "0", "3", "4", "5"]
    speed.get_by_role("button").click()
    assert names(page) == ["0", "3", "1", "2", "4", "5"]
    page.locator(".runs thead th", has_text="scheme").get_by_role("button").click()
    assert sorted(names(page)[:3]) == ["1", "2", "4"]
    assert speed.get_attribute("aria-sort") == "none"


def test_the_pointer_shows_settings_and_a_click_the_command(page: Any) -> None:
    mark = page.locator('#picture-speed .mark[data-run="2"]')
    mark.hover()
    tip = page.locator("#tip").inner_text()
    assert "heads" in tip and "0.5" in tip and "\N{MINUS SIGN}0.90 [\N{MINUS SIGN}1.10, \N{MINUS SIGN}0.70]" in tip
    mark.click()
    assert "stages.prune.heads=0.5 stages.quantize.scheme=dynamic" in page.locator("#chosen pre").inner_text()
    page.locator('.runs tbody tr[data-run="4"] button').click()
    assert "it broke: the loss is not finite" in page.locator("#chosen").inner_text()


def test_the_keyboard_reaches_every_point(page: Any) -> None:
    page.locator("#everything").evaluate("button => button.hidden = false")
    page.locator("#everything").focus()
    page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.dataset.run")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert first in ("0", "3")
    assert page.evaluate("document.activeElement.dataset.run") == "2"
    page.keyboard.press("Enter")
    assert page.locator("#chosen h3").inner_text().startswith("2 ")
