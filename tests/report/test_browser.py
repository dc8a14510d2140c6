"""The report in Chromium: no errors, no network requests, all pictures load, and it fits phones and prints."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from facetools.images import decoding
from tests.conftest import Run, SyntheticFaces

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def page(synthetic: SyntheticFaces, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section."""
    folder = tmp_path_factory.mktemp("report")
    clusters, comparison, pictures = folder / "clusters.jsonl", folder / "comparison.jsonl", folder / "eigenfaces.jsonl"
    scores = folder / "scores.jsonl"
    run("predict", synthetic.folder, "--model", synthetic.model, "--labels", synthetic.folder, "-o", scores)
    run("cluster", scores, "-k", "4", "--column", "labels", "--attributes", "paper10", "-o", clusters)
    run("cluster", clusters, "--column", "labels", "--attributes", "paper10", "--compare", "2:8", "-o", comparison)
    pictures.write_bytes(run("eigenface", clusters, "-o", folder / "eigenfaces").stdout)
    inputs = ("--eigenfaces", pictures, "--comparison", comparison, "--history", synthetic.folder / "run")
    run("report", clusters, *inputs, "-o", folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless Chromium; the test is skipped if it is not installed."""
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
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def test_the_report_loads_without_errors_or_requests(page: Path, browser: object) -> None:
    browser.set_window_size(1280, 900)  # type: ignore[attr-defined]
    browser.get(page.as_uri())  # type: ignore[attr-defined]
    assert browser.get_log("browser") == []  # type: ignore[attr-defined]
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[attr-defined]
    requested = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert requested, "the log of requests is empty, so this test cannot detect requests"
    assert all(url == page.as_uri() or url.startswith("data:") for url in requested), requested
    broken = """return [...document.images].filter(i => !i.complete || i.naturalWidth === 0).length"""
    assert browser.execute_script("return document.images.length") > 40  # type: ignore[attr-defined]
    assert browser.execute_script(broken) == 0  # type: ignore[attr-defined]
    unnamed = "return [...document.images].filter(i => !i.hasAttribute('alt')).length"
    assert browser.execute_script(unnamed) == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_report_fits_the_width_of_the_window(page: Path, browser: object, width: int) -> None:
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)  # type: ignore[attr-defined]
    browser.get(page.as_uri())  # type: ignore[attr-defined]
    assert browser.execute_script("return window.innerWidth") == width  # type: ignore[attr-defined]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width  # type: ignore[attr-defined]
    small = """return [...document.querySelectorAll('p, td, th, li, dd, figcaption')]
        .filter(e => e.textContent.trim() && parseFloat(getComputedStyle(e).fontSize) < 11).length"""
    assert browser.execute_script(small) == 0  # type: ignore[attr-defined]


def test_the_report_can_be_printed(page: Path, browser: object) -> None:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})  # type: ignore[attr-defined]
    browser.get(page.as_uri())  # type: ignore[attr-defined]
    pdf = base64.b64decode(browser.print_page())  # type: ignore[attr-defined]
    assert pdf.startswith(b"%PDF")
    assert 2 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 40


def test_the_page_is_not_blank(page: Path, browser: object) -> None:
    browser.set_window_size(1280, 900)  # type: ignore[attr-defined]
    browser.get(page.as_uri())  # type: ignore[attr-defined]
    pixels = decoding.decode_image(browser.get_screenshot_as_png())  # type: ignore[attr-defined]
    assert pixels.std() > 10
