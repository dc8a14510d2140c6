"""The report as a page, as text and as figures."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from facetools.prediction import metrics
from facetools.report import (
    EncodedEigenface,
    Report,
    build_report,
    captions,
    draw_figures,
    render_html,
    render_text,
    save_figure,
)
from facetools.report.formatting import format_share
from facetools.report.style import encode_figure
from facetools.report.text import COLUMNS
from facetools.table.attributes import PAPER37, PUBLISHED_ACCURACIES
from facetools.table.columns import AttributeColumns, Table, encode_paths

SECTIONS = ("frequencies", "accuracy", "clusters", "comparison", "training", "about")
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Parses a page into its elements and table rows; fails if tags are not nested properly."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def values_of(self, name: str) -> list[str]:
        """The values of the attribute `name`, of all elements that have it."""
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def face_table(count: int = 300, names: tuple[str, ...] = PAPER37, clusters: int = 4, seed: int = 0) -> Table:
    """A table with random labels whose frequencies differ by cluster, noise included, and scores near the labels."""
    generator = np.random.default_rng(seed)
    cluster = generator.integers(-1, clusters, count).astype(np.int32)
    probabilities = generator.random((clusters + 1, len(names)))[cluster]
    labels = (generator.random((count, len(names))) < probabilities).astype(np.uint8)
    scores = np.clip(0.2 + 0.6 * labels + generator.normal(0, 0.2, labels.shape), 0, 1).astype(np.float32)
    paths = encode_paths(f"faces/{row:05d}.jpg" for row in range(count))
    return Table(paths, AttributeColumns(names, scores), AttributeColumns(names, labels), cluster)


def read_thumbnails(paths: list[str]) -> list[np.ndarray | None]:
    """A gradient with a color that depends on the path; about every fifth picture is unreadable."""
    slope = np.arange(60, dtype=np.uint8)[:, None, None]
    colors = [np.array([17 * sum(path.encode()) % 200, 90, 120], np.uint8) for path in paths]
    pictures = [np.broadcast_to(slope + color, (60, 48, 3)) for color in colors]
    return [None if sum(path.encode()) % 5 == 0 else picture for path, picture in zip(paths, pictures, strict=True)]


def gray_png(side: int = 32) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 128, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def encoded_eigenface() -> EncodedEigenface:
    return EncodedEigenface(20, gray_png(), [gray_png(), gray_png()], [0.31, 0.12, 0.05])


def comparison_records() -> list[dict[str, object]]:
    records: list[dict[str, object]] = [
        {"method": method, "parameters": {"k": k, **parameters}, "k": k, "clusters": k, "noise": 0,
         "inertia": 100.0 / k, "silhouette": 0.3 + k / 50, "faces": 300, "distinct_codes": 200}
        for method, *linkage in (("kmeans",), ("agglomerative", "ward"), ("agglomerative", "single"))
        for parameters in [{"linkage": linkage[0]} if linkage else {}]
        for k in (2, 3, 5)
    ]  # fmt: skip
    automatic: dict[str, object] = {
        "method": "dbscan",
        "parameters": {"eps": 1},
        "k": None,
        "noise": 12,
        "inertia": None,
        "faces": 300,
    }
    records.append(automatic | {"clusters": 7, "silhouette": 0.87, "distinct_codes": 200})
    records.append(automatic | {"method": "failed", "clusters": 1, "silhouette": None, "distinct_codes": 200})
    return records


def history_records() -> list[dict[str, object]]:
    return [
        {"epoch": epoch, "loss": -0.7 - epoch / 100, "valid_loss": -0.7 - epoch / 110, "learning_rate": 1.0,
         "valid_accuracy": 0.8 + epoch / 50, "valid_balanced_accuracy": 0.6 + epoch / 40, "images_per_second": 210.0}
        for epoch in (1, 2, 3)
    ]  # fmt: skip


def full_report(**changes: object) -> Report:
    """A report with every section; `changes` replace arguments of build_report."""
    arguments: dict[str, object] = {
        "thumbnails": read_thumbnails,
        "eigenfaces": {cluster: encoded_eigenface() for cluster in (-1, 0, 1)},
        "comparison": comparison_records(),
        "history": history_records(),
        "provenance": {"Version": "facetools 1.2.3", "Command": "fa-report x.jsonl"},
    }
    return build_report(face_table(), **(arguments | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def html() -> str:
    return render_html(full_report())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


# The page


def test_the_page_is_well_formed_with_unique_ids_and_valid_links(page: Page) -> None:
    ids = page.values_of("id")
    assert len(ids) == len(set(ids))
    links = {link[1:] for link in page.values_of("href") if link.startswith("#")}
    assert {"overview", *SECTIONS, "cluster-0000", "noise"} <= links <= set(ids)


def test_the_page_loads_no_other_file(html: str, page: Page) -> None:
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.values_of("src"))
    assert all(link.startswith("#") or link == "data:," for link in page.values_of("href"))
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?(.)", html))
    assert "://" not in html and "@import" not in html
    assert "default-src 'none'" in html


def test_every_picture_can_be_decoded_and_has_alternative_text(page: Page) -> None:
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) > 5 * 15
    for attributes in images:
        with Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2]))) as image:
            assert image.size == (int(attributes["width"]), int(attributes["height"]))
        assert attributes["alt"]
    assert all(attributes["aria-label"] for tag, attributes in page.elements if tag == "svg")


def test_the_same_input_gives_the_same_bytes(html: str) -> None:
    assert render_html(full_report()) == html
    assert render_html(full_report(seed=1)) != html


@pytest.mark.parametrize(
    ("columns", "sections"),
    [
        ((), ()),
        (("scores",), ("frequencies",)),
        (("labels",), ("frequencies",)),
        (("scores", "labels"), ("frequencies", "accuracy")),
        (("paths", "cluster"), ("clusters",)),
        (("paths", "scores", "labels", "cluster"), ("frequencies", "accuracy", "clusters")),
    ],
)
def test_the_columns_of_the_table_determine_the_sections(columns: tuple[str, ...], sections: tuple[str, ...]) -> None:
    table = face_table()
    report = build_report(Table(**{column: getattr(table, column) for column in columns}))
    assert [name for name in Page(render_html(report)).values_of("id") if name in SECTIONS] == list(sections)
    headings = {"frequencies": "\nAttribute freq", "accuracy": "\nAccuracy by", "clusters": "\nClusters\n"}
    assert [name for name, heading in headings.items() if heading in render_text(report)] == list(sections)


def test_embeddings_are_not_shown_as_attributes() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    clusters = np.arange(20, dtype=np.int32) % 2
    report = build_report(Table(scores=AttributeColumns(tuple("abcd"), rows), cluster=clusters))
    assert [name for name in Page(render_html(report)).values_of("id") if name in SECTIONS] == ["clusters"]
    assert report.attributes == [] and [cluster.faces for cluster in report.clusters] == [10, 10]


@pytest.mark.parametrize(
    ("argument", "section", "figure"),
    [
        ({"comparison": comparison_records()}, "comparison", "figure4-comparison"),
        ({"history": history_records()}, "training", "training-curves"),
        ({"provenance": {"Version": "1"}}, "about", None),
    ],
)
def test_each_other_input_adds_a_section(argument: dict[str, object], section: str, figure: str | None) -> None:
    report = build_report(Table(), **argument)  # type: ignore[arg-type]
    assert [name for name in Page(render_html(report)).values_of("id") if name in SECTIONS] == [section]
    assert [name for name, _ in draw_figures(report)] == ([figure] if figure else [])
    assert [name for name, _ in draw_figures(build_report(Table()))] == []


def test_names_and_paths_are_escaped() -> None:
    hostile = "<script>alert('1')</script>\"$\\frac{#0072b2 &amp; --> ]]>"
    names = (hostile, "_hidden", "plain")
    table = face_table(40, names, 2)
    assert table.paths is not None
    table = Table(encode_paths([hostile] * 40), table.scores, table.labels, table.cluster)
    comparison = [{"method": hostile, "parameters": {hostile: hostile}, "k": 2, "clusters": 2, "silhouette": 0.5}]
    report = build_report(
        table,
        thumbnails=lambda paths: [np.zeros((9, 9, 3), np.uint8)] * len(paths),
        comparison=comparison,
        provenance={hostile: hostile},
        title=hostile,
    )
    page = Page(render_html(report))
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert hostile in page.values_of("alt")
    assert hostile.replace("_", " ") in {row[0] for row in page.rows if row}
    for _, figure in draw_figures(report):
        encode_figure(figure, "svg")
        encode_figure(figure, "png")


def test_control_characters_leave_pages_and_figures_valid(tmp_path: Path) -> None:
    names = ("a\0b", "\x1b[31mred", "line\nbreak", "\ufffe\x85")
    table = face_table(40, names, 2)
    comparison = [
        {"method": f"{name}\x1b", "parameters": {name: name}, "k": k, "clusters": k, "silhouette": 0.5}
        for name in names
        for k in (2, 3)
    ]
    report = build_report(table, comparison=comparison, title="\x1b]0;title\x07", provenance={"\x1b": "\x9b"})
    assert not set(render_text(report)) & {chr(code) for code in (*range(10), *range(11, 32), *range(127, 160))}
    for number, (_, figure) in enumerate(draw_figures(report)):
        path = tmp_path / f"{number}.svg"
        save_figure(figure, path)
        ElementTree.parse(path)


def test_the_page_allows_only_its_own_script(page: Page) -> None:
    html = render_html(full_report())
    policy = next(attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


# Numbers


def test_the_accuracy_table_shows_the_metrics(page: Page) -> None:
    table = face_table()
    assert table.scores is not None and table.labels is not None
    by_attribute = metrics.metrics_by_attribute(table.labels.values, table.scores.values)
    keys = ("accuracy", "balanced_accuracy", "f1", "false_negative_rate", "false_positive_rate", "majority")
    rows = {row[0]: row for row in page.rows if len(row) == 10}
    assert len(rows) == 1 + 37 + 1
    columns = dict(zip(keys, (3, 6, 7, 8, 9, 2), strict=True))
    for index, name in enumerate(PAPER37):
        row = rows[name.replace("_", " ")]
        assert [row[columns[key]] for key in keys] == [f"{100 * by_attribute[key][index]:.1f}" for key in keys]
        assert row[4:6] == [f"{PUBLISHED_ACCURACIES[method][name]:g}" for method in ("paper", "LNets+ANet")]
    mean = rows["Mean of 37"]
    assert [mean[columns[key]] for key in keys] == [f"{100 * by_attribute[key].mean():.1f}" for key in keys]
    assert mean[4] == f"{np.mean([PUBLISHED_ACCURACIES['paper'][name] for name in PAPER37]):.1f}"


def test_published_means_are_over_the_attributes_in_table1() -> None:
    accuracy = build_report(face_table(names=("Attractive", "Male", "Young"))).accuracy
    assert accuracy is not None
    assert accuracy.in_table1.sum() == 2
    assert accuracy.published_mean("paper") == (98 + 88) / 2
    html = render_html(build_report(face_table(names=("Attractive", "Male", "Young"))))
    assert [row[0] for row in Page(html).rows if row and row[0].startswith("Mean")] == [
        "Mean of 3", "Mean of 2 in table 1",
    ]  # fmt: skip
    unpublished = build_report(face_table(names=("Attractive", "mine"))).accuracy
    assert unpublished is not None and np.isnan(unpublished.published_mean("paper"))


def test_frequencies_are_shares_of_the_faces_of_each_cluster() -> None:
    table = face_table()
    assert table.scores is not None and table.cluster is not None
    report = build_report(table)
    assert [cluster.faces for cluster in report.clusters] == sorted((c.faces for c in report.clusters), reverse=True)
    assert list(report.frequencies) == sorted(report.frequencies, reverse=True)
    assert report.noise is not None and report.shown_clusters[-1] is report.noise
    for cluster in report.shown_clusters:
        present = table.scores.select(report.attributes)[table.cluster == cluster.number] >= 0.5
        assert cluster.faces == len(present)
        assert cluster.frequencies is not None
        np.testing.assert_allclose(cluster.frequencies, present.mean(0))


def test_prominent_and_noisy_limits_are_inclusive() -> None:
    names = ("always", "limit", "between", "rare", "never")
    shares = np.array([1, 0.8, 0.5, 0.2, 0])
    labels = (np.arange(10)[:, None] < shares * 10).astype(np.uint8)
    report = build_report(Table(labels=AttributeColumns(names, labels), cluster=np.zeros(10, np.int32)))
    assert report.attribute_marks(report.clusters[0]) == ["prominent", "prominent", "", "noisy", ""]
    strict = build_report(
        Table(labels=AttributeColumns(names, labels), cluster=np.zeros(10, np.int32)), prominent=0.9, noisy=0.1
    )
    assert strict.attribute_marks(strict.clusters[0]) == ["prominent", "", "", "", ""]


def test_only_the_largest_clusters_are_shown_and_the_others_counted() -> None:
    cluster = np.repeat(np.arange(200, dtype=np.int32), np.arange(1, 201))
    report = build_report(
        Table(paths=encode_paths(f"{row}" for row in range(len(cluster))), cluster=cluster), max_clusters=3
    )
    assert [cluster.number for cluster in report.clusters] == [199, 198, 197]
    assert report.cluster_count == 200 and report.hidden_faces == len(cluster) - 200 - 199 - 198
    for text in (render_html(report), render_text(report)):
        assert "The 3 largest of 200 clusters are shown" in text.replace("\n", " ")


def test_samples_come_from_their_cluster_and_do_not_depend_on_other_clusters() -> None:
    table = face_table()
    assert table.paths is not None and table.cluster is not None
    report = build_report(table, faces_per_cluster=7)
    cluster_of = dict(zip((path.decode() for path in table.paths), table.cluster.tolist(), strict=True))
    for cluster in report.shown_clusters:
        assert len(set(cluster.sample_paths)) == 7
        assert {cluster_of[path] for path in cluster.sample_paths} == {cluster.number}
    alone = build_report(table.take(table.cluster == 2), faces_per_cluster=7)
    assert [alone.clusters[0].sample_paths] == [
        cluster.sample_paths for cluster in report.clusters if cluster.number == 2
    ]


def test_thumbnails_are_read_in_one_call_and_unreadable_ones_are_counted() -> None:
    calls: list[list[str]] = []

    def count_calls(paths: list[str]) -> list[np.ndarray | None]:
        calls.append(paths)
        return read_thumbnails(paths)

    report = build_report(face_table(), thumbnails=count_calls)
    assert len(calls) == 1 and len(calls[0]) == 24 * 5
    assert 0 < sum(len(cluster.thumbnails) for cluster in report.shown_clusters) < len(calls[0])
    assert re.search(r"\d+ of them could not be read", render_html(report))
    with pytest.raises(ValueError, match=r"returned 0 pictures for 120 paths"):
        build_report(face_table(), thumbnails=lambda paths: [])


def test_thumbnails_are_shrunk() -> None:
    report = full_report(thumbnails=lambda paths: [np.zeros((600, 300, 3), np.uint8)] * len(paths))
    assert {pixels.shape for cluster in report.shown_clusters for _, pixels in cluster.thumbnails} == {(112, 56, 3)}


def test_an_eigenface_that_cannot_be_decoded_is_an_error() -> None:
    with pytest.raises(ValueError, match="eigenface of cluster 1 cannot be decoded"):
        full_report(eigenfaces={1: EncodedEigenface(3, b"not a picture", [], [])})


def test_noisy_above_prominent_is_an_error() -> None:
    with pytest.raises(ValueError, match="noisy below prominent"):
        build_report(face_table(), prominent=0.2, noisy=0.8)


def test_the_comparison_has_a_series_per_method_and_parameters() -> None:
    series = full_report().series
    assert [(line.label, line.automatic_k, line.clusters.tolist()) for line in series] == [
        ("kmeans", False, [2, 3, 5]),
        ("agglomerative (linkage ward)", False, [2, 3, 5]),
        ("agglomerative (linkage single)", False, [2, 3, 5]),
        ("dbscan, 4% noise", True, [7]),
    ]
    np.testing.assert_allclose(series[0].silhouette, [0.34, 0.36, 0.4])


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([(0.3, 0), (0.4, None)], [("0.40", "best silhouette")]),
        ([(0.3, 0), (1.0, 150)], [("0.30", "best silhouette without noise"), ("1.00", "silhouette with 50% noise")]),
        ([(0.9, 10), (1.0, 150)], [("1.00", "silhouette with 50% noise")]),
        ([(0.4, 0), (0.3, 150)], [("0.40", "best silhouette")]),
        ([(None, 150)], []),
    ],
)
def test_the_best_silhouette_does_not_hide_noise(
    runs: list[tuple[float | None, int | None]], expected: list[tuple[str, str]]
) -> None:
    records = [
        {"method": f"m{number}", "k": None, "clusters": 2, "silhouette": silhouette, "noise": noise, "faces": 300}
        for number, (silhouette, noise) in enumerate(runs)
    ]
    report = build_report(Table(), comparison=records)
    assert captions.key_figures(report) == expected
    for value, label in expected:
        assert f"{value} {label}" in render_text(report)
    assert [line.label for line in report.series] == [
        f"m{number}" + (f", {format_share(noise / 300)} noise" if noise else "")
        for number, (silhouette, noise) in enumerate(runs)
        if silhouette is not None
    ]


def test_the_text_shows_all_parameters() -> None:
    parameters = {f"parameter_{number}": number / 7 for number in range(20)} | {"long": "x" * 150}
    record = {"method": "kmeans", "parameters": parameters, "k": 2, "clusters": 2, "silhouette": 0.5, "inertia": 1.5}
    text = render_text(build_report(Table(), comparison=[record, record | {"method": "dbscan"}]))
    lines = text.splitlines()
    assert max(map(len, lines)) <= COLUMNS
    first, second = (next(i for i, line in enumerate(lines) if line.startswith(name)) for name in ("kmeans", "dbscan"))
    assert lines[first].endswith("0.5000") and "parameter_0 0" in lines[first]
    titles = lines[first - 1]
    column = slice(titles.index("Parameters"), titles.index("Clusters"))
    shown = "".join("".join(line[column].split()) for line in lines[first:second])
    for name, value in parameters.items():
        assert (f"{name}{value:g}" if isinstance(value, float) else value) in shown


def test_a_comparison_without_silhouettes_has_a_table_but_no_figure() -> None:
    report = build_report(Table(), comparison=[{"method": "kmeans", "k": 2, "clusters": 2, "silhouette": None}])
    assert report.series == [] and "<svg" not in render_html(report) and "kmeans" in render_text(report)


def test_a_training_history_may_have_missing_values() -> None:
    report = build_report(
        Table(), history=[{"epoch": 1, "loss": -0.5}, {"epoch": 2, "loss": None, "valid_accuracy": 0.9}]
    )
    assert set(report.training_curves) == {"loss", "accuracy"}
    assert "best validation accuracy 90.00% after epoch 2" in render_text(report)
    Page(render_html(report))


def test_shares_are_shown_as_0_or_100_percent_only_if_exact() -> None:
    assert [format_share(share) for share in (0, 0.001, 0.2, 0.999, 1)] == ["0%", "<1%", "20%", ">99%", "100%"]


# Text


def test_the_text_fits_a_terminal_and_has_the_same_content() -> None:
    report = full_report()
    text = render_text(report)
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert text == render_text(full_report()) and text.endswith("\n") and "\u202f" not in text
    for part in ("Cluster 0: ", "Noise: ", "prominent", "noisy", "dbscan", "0.8700", "facetools 1.2.3", "Mean of 37"):
        assert part in text
    share = report.frequencies[0]
    row = next(line for line in text.splitlines() if line.startswith(report.attributes[0].replace("_", " ")))
    assert row.count("█") in (round(share * 50), round(share * 50) - 1) and f"{100 * share:.0f}%" in row


def test_the_text_contains_no_control_characters() -> None:
    paths = encode_paths(["\x1b[2Jcleared\n.jpg", "x" * 300])
    text = render_text(build_report(Table(paths=paths, cluster=np.zeros(2, np.int32)), title="\x07bell"))
    assert all(line.isprintable() for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= COLUMNS


# Figures


def test_figure_files_are_reproducible_and_transparent(tmp_path: Path) -> None:
    table = face_table(60, PAPER37[:5], 2)
    names = []
    for run in ("a", "b"):
        report = build_report(
            table,
            thumbnails=read_thumbnails,
            eigenfaces={0: encoded_eigenface()},
            comparison=comparison_records(),
            history=history_records(),
        )
        for name, figure in draw_figures(report):
            save_figure(figure, tmp_path / f"{name}.{run}.svg")
            save_figure(figure, tmp_path / f"{name}.{run}.png")
            names.append(name)
    assert names[: len(names) // 2] == [
        "figure1-frequencies", "table1-accuracy", "misprediction-ratio", "clusters",
        *(f"figure5-{cluster.anchor}" for cluster in report.shown_clusters), "figure4-comparison", "training-curves",
    ]  # fmt: skip
    for name in names:
        svg = (tmp_path / f"{name}.a.svg").read_bytes()
        assert svg == (tmp_path / f"{name}.b.svg").read_bytes()
        assert b"<dc:date>" not in svg and len(svg) < 1_000_000
        assert (tmp_path / f"{name}.a.png").read_bytes() == (tmp_path / f"{name}.b.png").read_bytes()
        with Image.open(tmp_path / f"{name}.a.png") as image:
            assert image.convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]
    with pytest.raises(ValueError, match=r"\.svg or \.png"):
        save_figure(figure, tmp_path / "figure.pdf")


def test_the_page_stays_small_with_many_faces_and_clusters() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random((200_000, 37), dtype=np.float32)
    cluster = generator.integers(-1, 3000, len(scores)).astype(np.int32)
    report = build_report(Table(scores=AttributeColumns(PAPER37, scores), cluster=cluster))
    assert report.cluster_count == 3000 and len(report.clusters) == 50
    assert len(render_html(report)) < 1_000_000
