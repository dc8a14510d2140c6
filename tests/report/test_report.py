"""The report: what its page, its text and its figures say, and when."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetools import report
from facetools.prediction import metrics
from facetools.report import as_figures, as_html, as_text, save_figure
from facetools.report.style import encode
from facetools.report.text import COLUMNS
from facetools.report.words import share as share_in_words
from facetools.table.attributes import PAPER37, PUBLISHED
from facetools.table.columns import AttributeColumns, Table, encode_paths

SECTIONS = ("frequencies", "accuracy", "clusters", "comparison", "training", "about")
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """The elements of a page; fails on one that is not closed in its turn."""

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

    def all(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def faces(count: int = 300, names: tuple[str, ...] = PAPER37, clusters: int = 4, seed: int = 0) -> Table:
    generator = np.random.default_rng(seed)
    cluster = generator.integers(-1, clusters, count).astype(np.int32)
    likely = generator.random((clusters + 1, len(names)))[cluster]
    labels = (generator.random((count, len(names))) < likely).astype(np.uint8)
    scores = np.clip(0.2 + 0.6 * labels + generator.normal(0, 0.2, labels.shape), 0, 1).astype(np.float32)
    paths = encode_paths(f"faces/{row:05d}.jpg" for row in range(count))
    return Table(paths, AttributeColumns(names, scores), AttributeColumns(names, labels), cluster)


def thumbnails(paths: list[str]) -> list[np.ndarray | None]:
    """A gradient whose colour hangs on the path; every fifth picture cannot be read."""
    slope = np.arange(60, dtype=np.uint8)[:, None, None]
    colours = [np.array([17 * sum(path.encode()) % 200, 90, 120], np.uint8) for path in paths]
    pictures = [np.broadcast_to(slope + colour, (60, 48, 3)) for colour in colours]
    return [None if sum(path.encode()) % 5 == 0 else picture for path, picture in zip(paths, pictures, strict=True)]


def png(side: int = 32) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 128, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def eigenface() -> report.Eigenface:
    return report.Eigenface(20, png(), [png(), png()], [0.31, 0.12, 0.05])


def comparison() -> list[dict[str, object]]:
    records: list[dict[str, object]] = [
        {"method": method, "parameters": {"k": k, **way}, "k": k, "clusters": k, "noise": 0, "inertia": 100.0 / k,
         "silhouette": 0.3 + k / 50, "faces": 300, "distinct_codes": 200}
        for method, *linkage in (("kmeans",), ("agglomerative", "ward"), ("agglomerative", "single"))
        for way in [{"linkage": linkage[0]} if linkage else {}]
        for k in (2, 3, 5)
    ]  # fmt: skip
    found: dict[str, object] = {
        "method": "dbscan",
        "parameters": {"eps": 1},
        "k": None,
        "noise": 12,
        "inertia": None,
        "faces": 300,
    }
    records.append(found | {"clusters": 7, "silhouette": 0.87, "distinct_codes": 200})
    records.append(found | {"method": "failed", "clusters": 1, "silhouette": None, "distinct_codes": 200})
    return records


def history() -> list[dict[str, object]]:
    return [
        {"epoch": epoch, "loss": -0.7 - epoch / 100, "valid_loss": -0.7 - epoch / 110, "learning_rate": 1.0,
         "valid_accuracy": 0.8 + epoch / 50, "valid_balanced_accuracy": 0.6 + epoch / 40, "images_per_second": 210.0}
        for epoch in (1, 2, 3)
    ]  # fmt: skip


def full(**changes: object) -> report.Report:
    arguments: dict[str, object] = {
        "thumbnails": thumbnails,
        "eigenfaces": {cluster: eigenface() for cluster in (-1, 0, 1)},
        "comparison": comparison(),
        "history": history(),
        "provenance": {"Version": "facetools 1.2.3", "Command": "fa-report x.jsonl"},
    }
    return report.build_report(faces(), **(arguments | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def html() -> str:
    return as_html(full())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


# The page


def test_the_page_is_well_formed_and_ids_are_unique(page: Page) -> None:
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    links = {link[1:] for link in page.all("href") if link.startswith("#")}
    assert {"overview", *SECTIONS, "cluster-0000", "noise"} <= links <= set(ids)


def test_the_page_asks_for_nothing(html: str, page: Page) -> None:
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.all("src"))
    assert all(link.startswith("#") or link == "data:," for link in page.all("href"))
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?(.)", html))
    assert "://" not in html and "@import" not in html
    assert "default-src 'none'" in html


def test_every_picture_decodes_and_has_an_alternative(page: Page) -> None:
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) > 5 * 15
    for attributes in images:
        with Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2]))) as image:
            assert image.size == (int(attributes["width"]), int(attributes["height"]))
        assert attributes["alt"]
    assert all(attributes["aria-label"] for tag, attributes in page.elements if tag == "svg")


def test_the_same_input_gives_the_same_bytes(html: str) -> None:
    assert as_html(full()) == html
    assert as_html(full(seed=1)) != html


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
def test_sections_of_the_table(columns: tuple[str, ...], sections: tuple[str, ...]) -> None:
    whole = faces()
    made = report.build_report(Table(**{column: getattr(whole, column) for column in columns}))
    assert [name for name in Page(as_html(made)).all("id") if name in SECTIONS] == list(sections)
    headings = {"frequencies": "\nAttribute freq", "accuracy": "\nAccuracy by", "clusters": "\nClusters\n"}
    assert [name for name, heading in headings.items() if heading in as_text(made)] == list(sections)


def test_embeddings_are_no_attributes() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    clusters = np.arange(20, dtype=np.int32) % 2
    made = report.build_report(Table(scores=AttributeColumns(tuple("abcd"), rows), cluster=clusters))
    assert [name for name in Page(as_html(made)).all("id") if name in SECTIONS] == ["clusters"]
    assert made.attributes == [] and [cluster.faces for cluster in made.clusters] == [10, 10]


@pytest.mark.parametrize(
    ("argument", "section", "figure"),
    [
        ({"comparison": comparison()}, "comparison", "figure4-comparison"),
        ({"history": history()}, "training", "training-curves"),
        ({"provenance": {"Version": "1"}}, "about", None),
    ],
)
def test_sections_of_the_other_inputs(argument: dict[str, object], section: str, figure: str | None) -> None:
    made = report.build_report(Table(), **argument)  # type: ignore[arg-type]
    assert [name for name in Page(as_html(made)).all("id") if name in SECTIONS] == [section]
    assert [name for name, _ in as_figures(made)] == ([figure] if figure else [])
    assert [name for name, _ in as_figures(report.build_report(Table()))] == []


def test_names_and_paths_cannot_become_markup() -> None:
    hostile = "<script>alert('1')</script>\"$\\frac{#0072b2 &amp; --> ]]>"
    names = (hostile, "_hidden", "plain")
    whole = faces(40, names, 2)
    assert whole.paths is not None
    table = Table(encode_paths([hostile] * 40), whole.scores, whole.labels, whole.cluster)
    compared = [{"method": hostile, "parameters": {hostile: hostile}, "k": 2, "clusters": 2, "silhouette": 0.5}]
    made = report.build_report(
        table,
        thumbnails=lambda paths: [np.zeros((9, 9, 3), np.uint8)] * len(paths),
        comparison=compared,
        provenance={hostile: hostile},
        title=hostile,
    )
    page = Page(as_html(made))
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert hostile in page.all("alt")
    assert hostile.replace("_", " ") in {row[0] for row in page.rows if row}
    for _, figure in as_figures(made):
        encode(figure, "svg")
        encode(figure, "png")


# Numbers


def test_the_accuracy_table_holds_the_metrics(page: Page) -> None:
    table = faces()
    assert table.scores is not None and table.labels is not None
    measures = metrics.metrics_by_attribute(table.labels.values, table.scores.values)
    keys = ("accuracy", "balanced_accuracy", "f1", "false_negative_rate", "false_positive_rate", "majority")
    rows = {row[0]: row for row in page.rows if len(row) == 10}
    assert len(rows) == 1 + 37 + 1
    columns = {key: at for key, at in zip(keys, (3, 6, 7, 8, 9, 2), strict=True)}
    for at, name in enumerate(PAPER37):
        row = rows[name.replace("_", " ")]
        assert [row[columns[key]] for key in keys] == [f"{100 * measures[key][at]:.1f}" for key in keys]
        assert row[4:6] == [f"{PUBLISHED[method][name]:g}" for method in ("paper", "LNets+ANet")]
    mean = rows["Mean of 37"]
    assert [mean[columns[key]] for key in keys] == [f"{100 * measures[key].mean():.1f}" for key in keys]
    assert mean[4] == f"{np.mean([PUBLISHED['paper'][name] for name in PAPER37]):.1f}"


def test_published_means_are_over_the_attributes_that_both_have() -> None:
    accuracy = report.build_report(faces(names=("Attractive", "Male", "Young"))).accuracy
    assert accuracy is not None
    assert accuracy.in_table1.sum() == 2
    assert accuracy.published_mean("paper") == (98 + 88) / 2
    html = as_html(report.build_report(faces(names=("Attractive", "Male", "Young"))))
    assert [row[0] for row in Page(html).rows if row and row[0].startswith("Mean")] == [
        "Mean of 3", "Mean of 2 in table 1",
    ]  # fmt: skip
    none = report.build_report(faces(names=("Attractive", "mine"))).accuracy
    assert none is not None and np.isnan(none.published_mean("paper"))


def test_shares_are_counted_by_cluster() -> None:
    table = faces()
    assert table.scores is not None and table.cluster is not None
    made = report.build_report(table)
    assert [cluster.faces for cluster in made.clusters] == sorted((c.faces for c in made.clusters), reverse=True)
    assert list(made.overall) == sorted(made.overall, reverse=True)
    assert made.noise is not None and made.shown[-1] is made.noise
    for cluster in made.shown:
        present = table.scores.select(made.attributes)[table.cluster == cluster.number] >= 0.5
        assert cluster.faces == len(present)
        assert cluster.shares is not None
        np.testing.assert_allclose(cluster.shares, present.mean(0))


def test_prominent_and_noisy_take_their_limits_in() -> None:
    names = ("always", "limit", "between", "rare", "never")
    shares = np.array([1, 0.8, 0.5, 0.2, 0])
    labels = (np.arange(10)[:, None] < shares * 10).astype(np.uint8)
    made = report.build_report(Table(labels=AttributeColumns(names, labels), cluster=np.zeros(10, np.int32)))
    assert made.marks(made.clusters[0]) == ["prominent", "prominent", "", "noisy", ""]
    strict = report.build_report(
        Table(labels=AttributeColumns(names, labels), cluster=np.zeros(10, np.int32)), prominent=0.9, noisy=0.1
    )
    assert strict.marks(strict.clusters[0]) == ["prominent", "", "", "", ""]


def test_many_clusters_show_the_largest_and_count_the_rest() -> None:
    cluster = np.repeat(np.arange(200, dtype=np.int32), np.arange(1, 201))
    made = report.build_report(
        Table(paths=encode_paths(f"{row}" for row in range(len(cluster))), cluster=cluster), max_clusters=3
    )
    assert [one.number for one in made.clusters] == [199, 198, 197]
    assert made.cluster_count == 200 and made.hidden_faces == len(cluster) - 200 - 199 - 198
    for words in (as_html(made), as_text(made)):
        assert "The 3 largest of 200 clusters are shown" in words.replace("\n", " ")


def test_samples_belong_to_their_cluster_and_do_not_depend_on_the_others() -> None:
    table = faces()
    assert table.paths is not None and table.cluster is not None
    made = report.build_report(table, faces_per_cluster=7)
    cluster_of = dict(zip((path.decode() for path in table.paths), table.cluster.tolist(), strict=True))
    for cluster in made.shown:
        assert len(set(cluster.sample)) == 7
        assert {cluster_of[path] for path in cluster.sample} == {cluster.number}
    alone = report.build_report(table.take(table.cluster == 2), faces_per_cluster=7)
    assert [alone.clusters[0].sample] == [cluster.sample for cluster in made.clusters if cluster.number == 2]


def test_pictures_are_asked_for_once_and_unreadable_ones_are_told() -> None:
    calls: list[list[str]] = []

    def counted(paths: list[str]) -> list[np.ndarray | None]:
        calls.append(paths)
        return thumbnails(paths)

    made = report.build_report(faces(), thumbnails=counted)
    assert len(calls) == 1 and len(calls[0]) == 24 * 5
    assert 0 < sum(len(cluster.pictures) for cluster in made.shown) < len(calls[0])
    assert re.search(r"\d more could not be read", as_html(made))
    with pytest.raises(ValueError, match="0 pictures came for 120 paths"):
        report.build_report(faces(), thumbnails=lambda paths: [])


def test_large_pictures_are_shrunk_for_the_page() -> None:
    made = full(thumbnails=lambda paths: [np.zeros((600, 300, 3), np.uint8)] * len(paths))
    assert {pixels.shape for cluster in made.shown for _, pixels in cluster.pictures} == {(112, 56, 3)}


def test_an_eigenface_that_is_no_picture_is_named() -> None:
    with pytest.raises(ValueError, match="eigenface of cluster 1 cannot be decoded"):
        full(eigenfaces={1: report.Eigenface(3, b"not a picture", [], [])})


def test_thresholds_that_cross_are_refused() -> None:
    with pytest.raises(ValueError, match="noisy below prominent"):
        report.build_report(faces(), prominent=0.2, noisy=0.8)


def test_series_of_the_comparison() -> None:
    series = full().series
    assert [(one.label, one.fixed, one.clusters.tolist()) for one in series] == [
        ("kmeans", False, [2, 3, 5]),
        ("agglomerative (linkage ward)", False, [2, 3, 5]),
        ("agglomerative (linkage single)", False, [2, 3, 5]),
        ("dbscan", True, [7]),
    ]
    np.testing.assert_allclose(series[0].silhouette, [0.34, 0.36, 0.4])


def test_a_comparison_without_any_silhouette_has_no_figure() -> None:
    made = report.build_report(Table(), comparison=[{"method": "kmeans", "k": 2, "clusters": 2, "silhouette": None}])
    assert made.series == [] and "<svg" not in as_html(made) and "kmeans" in as_text(made)


def test_a_history_with_gaps() -> None:
    made = report.build_report(
        Table(), history=[{"epoch": 1, "loss": -0.5}, {"epoch": 2, "loss": None, "valid_accuracy": 0.9}]
    )
    assert set(made.curves) == {"loss", "accuracy"}
    assert "best validation accuracy 90.00% after epoch 2" in as_text(made)
    Page(as_html(made))


def test_shares_never_look_like_none_or_all_when_they_are_not() -> None:
    assert [share_in_words(share) for share in (0, 0.001, 0.2, 0.999, 1)] == ["0%", "<1%", "20%", ">99%", "100%"]


# Text


def test_text_fits_a_terminal_and_says_the_same() -> None:
    made = full()
    text = as_text(made)
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert text == as_text(full()) and text.endswith("\n") and "\u202f" not in text
    for words in ("Cluster 0: ", "Noise: ", "prominent", "noisy", "dbscan", "0.8700", "facetools 1.2.3", "Mean of 37"):
        assert words in text
    share = made.overall[0]
    row = next(line for line in text.splitlines() if line.startswith(made.attributes[0].replace("_", " ")))
    assert row.count("█") in (round(share * 50), round(share * 50) - 1) and f"{100 * share:.0f}%" in row


def test_text_cannot_steer_a_terminal() -> None:
    paths = encode_paths(["\x1b[2Jcleared\n.jpg", "x" * 300])
    text = as_text(report.build_report(Table(paths=paths, cluster=np.zeros(2, np.int32)), title="\x07bell"))
    assert all(line.isprintable() for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= COLUMNS


# Figures


def test_figures_are_written_alike_each_time(tmp_path: Path) -> None:
    table = faces(60, PAPER37[:5], 2)
    names = []
    for once in ("a", "b"):
        made = report.build_report(
            table, thumbnails=thumbnails, eigenfaces={0: eigenface()}, comparison=comparison(), history=history()
        )
        for name, figure in as_figures(made):
            save_figure(figure, tmp_path / f"{name}.{once}.svg")
            save_figure(figure, tmp_path / f"{name}.{once}.png")
            names.append(name)
    assert names[: len(names) // 2] == [
        "figure1-frequencies", "table1-accuracy", "misprediction-ratio", "clusters",
        *(f"figure5-{cluster.anchor}" for cluster in made.shown), "figure4-comparison", "training-curves",
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


def test_many_faces_and_clusters_make_a_small_page() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random((200_000, 37), dtype=np.float32)
    cluster = generator.integers(-1, 3000, len(scores)).astype(np.int32)
    made = report.build_report(Table(scores=AttributeColumns(PAPER37, scores), cluster=cluster))
    assert made.cluster_count == 3000 and len(made.clusters) == 50
    assert len(as_html(made)) < 1_000_000
