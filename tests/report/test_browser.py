"""The report in a real browser: no console error, no request, every picture decodes, prints and fits a phone."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from facetools.images import decoding
from tests.conftest import Drawn, Run

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def page(drawn: Drawn, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section."""
    folder = tmp_path_factory.mktemp("report")
    clusters, comparison, pictures = folder / "clusters.jsonl", folder / "comparison.jsonl", folder / "eigenfaces.jsonl"
    scores = folder / "scores.jsonl"
    run("predict", drawn.folder, "--model", drawn.model, "--labels", drawn.folder, "-o", scores)
    run("cluster", scores, "-k", "4", "--column", "labels", "--attributes", "paper10", "-o", clusters)
    run("cluster", clusters, "--column", "labels", "--attributes", "paper10", "--compare", "2:8", "-o", comparison)
    pictures.write_bytes(run("eigenface", clusters, "-o", folder / "eigenfaces").stdout)
    inputs = ("--eigenfaces", pictures, "--comparison", comparison, "--history", drawn.folder / "run")
    run("report", clusters, *inputs, "-o", folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Debian's Chromium, headless."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield started
    finally:
        started.quit()


def test_the_report_reads_well_in_a_browser(page: Path, browser: object) -> None:
    browser.set_window_size(1280, 900)  # type: ignore[attr-defined]
    browser.get(page.as_uri())  # type: ignore[attr-defined]
    assert browser.get_log("browser") == []  # type: ignore[attr-defined]
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[attr-defined]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked, "the log of requests is empty, so it would not show one that leaves the page"
    assert all(url == page.as_uri() or url.startswith("data:") for url in asked), asked
    broken = """return [...document.images].filter(i => !i.complete || i.naturalWidth === 0).length"""
    assert browser.execute_script("return document.images.length") > 40  # type: ignore[attr-defined]
    assert browser.execute_script(broken) == 0  # type: ignore[attr-defined]
    unnamed = "return [...document.images].filter(i => !i.hasAttribute('alt')).length"
    assert browser.execute_script(unnamed) == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_report_fits_its_window(page: Path, browser: object, width: int) -> None:
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)  # type: ignore[attr-defined]
    browser.get(page.as_uri())  # type: ignore[attr-defined]
    assert browser.execute_script("return window.innerWidth") == width  # type: ignore[attr-defined]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width  # type: ignore[attr-defined]
    small = """return [...document.querySelectorAll('p, td, th, li, dd, figcaption')]
        .filter(e => e.textContent.trim() && parseFloat(getComputedStyle(e).fontSize) < 11).length"""
    assert browser.execute_script(small) == 0  # type: ignore[attr-defined]


def test_the_report_prints(page: Path, browser: object) -> None:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})  # type: ignore[attr-defined]
    browser.get(page.as_uri())  # type: ignore[attr-defined]
    printed = base64.b64decode(browser.print_page())  # type: ignore[attr-defined]
    assert printed.startswith(b"%PDF")
    assert 2 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 40


def test_the_screenshot_is_no_blank_page(page: Path, browser: object) -> None:
    browser.set_window_size(1280, 900)  # type: ignore[attr-defined]
    browser.get(page.as_uri())  # type: ignore[attr-defined]
    pixels = decoding.decode_image(browser.get_screenshot_as_png())  # type: ignore[attr-defined]
    assert pixels.std() > 10
