"""Reports of hostile names in Chromium: markup in paths, attributes, titles and records is shown, and nothing runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Run
from tests.report.test_browser import browser

__all__ = ["browser"]

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

RUN = "window.pwned=1;document.title=0"

#: Markup that would run a script in some context: text, a quoted or unquoted attribute, a script, a style, a comment,
#: an SVG, a URL, a template, an entity.
PAYLOADS = (
    f"<script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"\"><img src=x onerror='{RUN}'>",
    f"'><svg onload='{RUN}'>",
    f'" onmouseover="{RUN}" autofocus onfocus="{RUN}" x="',
    f"</title></style></textarea></script><script>{RUN}</script>",
    f"--></svg><script>{RUN}</script><!--",
    f"]]><script>{RUN}</script><![CDATA[",
    f"</text></g></svg><img src=x onerror={RUN}>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'>",
    f"javascript:{RUN}",
    "{{ 7 * 7 }}{% include 'report.html' %}",
    f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f"<style>body{{display:none}}</style><base href='https://example.com/'><meta http-equiv=refresh content=0>{RUN}",
)
TITLE = "".join(PAYLOADS)


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose every name is a payload, and its figures."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    attributes = [*PAYLOADS, "Male"]
    rows = []
    for number, payload in enumerate(PAYLOADS * 2):
        path = folder / f"{number} {payload.replace('/', '∕')}.png"
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(path)
        values = rng.random(len(attributes)).round(3).tolist()
        rows.append(
            {
                "path": str(path),
                "scores": dict(zip(attributes, values, strict=True)),
                "labels": {name: int(value > 0.4) for name, value in zip(attributes, values, strict=True)},
                "cluster": number % 2 - (number == 9),
                payload: payload,
                "source": f"photos/{payload}",
                "face": 0 if number % 2 else payload,
            }
        )
    write(folder / f"table {PAYLOADS[1]}.jsonl", rows)
    comparison = [
        {"method": payload, "parameters": {payload: payload, "k": k}, "k": k, "clusters": k, "silhouette": 0.2 + k / 9}
        for payload in PAYLOADS
        for k in (2, 3)
    ]
    write(folder / "comparison.jsonl", comparison)
    history = [
        {"epoch": epoch, "loss": 1 / epoch, "valid_accuracy": 0.5, **dict.fromkeys(PAYLOADS, 1)} for epoch in (1, 2)
    ]
    write(folder / "history.jsonl", history)
    eigenfaces = [
        {
            "cluster": 0,
            "faces": 3,
            "mean": rows[0]["path"],
            "components": [rows[1]["path"]],
            "explained_variance_ratio": [0.5],
        }
    ]
    write(folder / "eigenfaces.jsonl", eigenfaces)
    run(
        *("report", folder / f"table {PAYLOADS[1]}.jsonl", "--title", TITLE, "--figures", folder / "figures"),
        *("--comparison", folder / "comparison.jsonl", "--history", folder / "history.jsonl"),
        *("--eigenfaces", folder / "eigenfaces.jsonl", "-o", folder / "report.html"),
    )
    return folder


def write(path: Path, records: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def page(folder: Path, browser: object) -> Iterator[object]:
    browser.get_log("browser")  # type: ignore[attr-defined]
    browser.get((folder / "report.html").as_uri())  # type: ignore[attr-defined]
    yield browser


def test_nothing_runs_and_nothing_is_loaded(folder: Path, page: object) -> None:
    # Focus, move over and click everything, so that handlers would run.
    page.execute_script(  # type: ignore[attr-defined]
        """for (const element of document.querySelectorAll("*"))
            for (const type of ["mouseover", "focus", "click", "load", "error"])
                if (!element.closest("a")) element.dispatchEvent(new Event(type, {bubbles: true}));"""
    )
    assert page.execute_script("return window.pwned === undefined")  # type: ignore[attr-defined]
    assert page.title == " ".join(TITLE.split())  # type: ignore[attr-defined]
    assert page.get_log("browser") == []  # type: ignore[attr-defined]
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]  # type: ignore[attr-defined]
    requested = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    own = (folder / "report.html").as_uri()
    assert own in requested
    assert all(url == own or url.startswith("data:") for url in requested), requested
    handlers = """return [...document.querySelectorAll("*")]
        .flatMap(e => e.getAttributeNames()).filter(name => name.startsWith("on"))"""
    assert page.execute_script(handlers) == []  # type: ignore[attr-defined]
    assert page.execute_script("return document.scripts.length") == 1  # type: ignore[attr-defined]
    foreign = "return document.querySelectorAll('iframe, object, embed, base, form, body style').length"
    assert page.execute_script(foreign) == 0  # type: ignore[attr-defined]


def test_names_are_shown_as_they_are(folder: Path, page: object) -> None:
    text = page.execute_script("return document.body.textContent")  # type: ignore[attr-defined]
    alternatives = page.execute_script("return [...document.images].map(image => image.alt)")  # type: ignore[attr-defined]
    titles = page.execute_script("return [...document.images].map(image => image.title)")  # type: ignore[attr-defined]
    assert page.execute_script("return document.querySelector('h1').textContent") == TITLE  # type: ignore[attr-defined]
    for number, payload in enumerate(PAYLOADS):
        assert text.count(payload.replace("_", " ")) >= 4, payload
        if number != 9:
            path = f"{folder}/{number} {payload.replace('/', '∕')}.png"
            assert path in alternatives
            assert f"{path}: {'face 0 of' if number % 2 else 'from'} photos/{payload}" in titles
    assert f"table {PAYLOADS[1]}.jsonl" in text


def test_the_policy_stops_scripts_that_would_slip_in(page: object) -> None:
    """The page allows one script only, so that markup in it would not run either."""
    page.execute_script(  # type: ignore[attr-defined]
        f"""const image = document.createElement("div");
        image.innerHTML = '<img src="data:," onerror="{RUN}">';
        document.body.append(image);
        const script = document.createElement("script");
        script.text = "{RUN}";
        document.body.append(script);"""
    )
    page.execute_async_script("setTimeout(arguments[0], 200)")  # type: ignore[attr-defined]
    assert page.execute_script("return window.pwned === undefined")  # type: ignore[attr-defined]
    assert len(page.get_log("browser")) >= 2  # type: ignore[attr-defined]
    # The page's own script runs: the headings of tables are buttons.
    assert page.execute_script("return document.querySelectorAll('thead button').length") > 5  # type: ignore[attr-defined]


def test_figures_run_nothing(folder: Path, browser: object) -> None:
    figures = sorted((folder / "figures").glob("*.svg"))
    assert len(figures) > 5
    for figure in figures:
        browser.get(figure.as_uri())  # type: ignore[attr-defined]
        assert browser.execute_script("return window.pwned === undefined"), figure  # type: ignore[attr-defined]
        assert browser.execute_script("return document.querySelectorAll('script, parsererror, img').length") == 0, (
            figure
        )  # type: ignore[attr-defined]
