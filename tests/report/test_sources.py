"""The photographs of faces in the report: as titles of sample faces, and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facetools.report import Report, build_report, captions, render_html, render_text
from facetools.report.sources import count_photos, describe_face, number_photos
from facetools.report.text import COLUMNS
from facetools.table.columns import Table, encode_paths
from tests.conftest import Run
from tests.report.test_report import Page

#: Values that are no path of a photograph.
NO_PHOTO: tuple[Any, ...] = (None, "", 7, 1.5, True, ["a.jpg"], {"a.jpg": 1})

#: Values that are no number of a face.
NO_FACE: tuple[Any, ...] = (None, "0", "<b>", -1, 2.0, 1e300, True, 10**6, 10**5000, [0], {})


def rows_of(photos: list[Any], clusters: list[int]) -> Table:
    paths = encode_paths(f"crops/{row}.jpg" for row in range(len(photos)))
    return Table(paths, cluster=np.array(clusters, np.int32), extras=[{"source": photo} for photo in photos])


def report_on(extras: list[dict[str, Any]] | None, count: int, readable: bool = True) -> Report:
    """A report on `count` faces in one cluster, which shows all of them."""
    table = Table(
        encode_paths(f"crops/{row}.jpg" for row in range(count)), cluster=np.zeros(count, np.int32), extras=extras
    )
    thumbnails = (lambda paths: [np.zeros((9, 9, 3), np.uint8)] * len(paths)) if readable else None
    return build_report(table, thumbnails=thumbnails, faces_per_cluster=count)


@pytest.mark.parametrize(
    ("row", "description"),
    [
        ({"source": "photos/party.jpg", "face": 0}, "a.jpg: face 0 of photos/party.jpg"),
        ({"source": "photos/party.jpg", "face": 12}, "a.jpg: face 12 of photos/party.jpg"),
        ({"source": "photos/party.jpg"}, "a.jpg: from photos/party.jpg"),
        *(({"source": "b.jpg", "face": face}, "a.jpg: from b.jpg") for face in NO_FACE),
        *(({"source": photo, "face": 0}, "a.jpg") for photo in NO_PHOTO),
        ({"face": 0}, "a.jpg"),
        ({}, "a.jpg"),
        ({"source": "a\0b\x1b\n\ud800", "face": 1}, "a.jpg: face 1 of a\ufffdb\ufffd\ufffd\ufffd"),
    ],
)
def test_the_description_names_the_photo_if_it_is_known(row: dict[str, Any], description: str) -> None:
    assert describe_face("a.jpg", row) == description


def test_long_paths_of_photos_keep_their_end() -> None:
    description = describe_face("a.jpg", {"source": "x" * 1_000_000 + "/party.jpg", "face": 0})
    assert description.startswith("a.jpg: face 0 of …x") and description.endswith("x/party.jpg")
    assert len(description) < 600


@pytest.mark.parametrize("readable", [True, False])
def test_titles_name_the_photo_and_alternative_texts_the_face(readable: bool) -> None:
    hostile = "\"><img src=x onerror='alert(1)'> &amp; </script>"
    values = [("photos/party.jpg", 3), (hostile, 0), (hostile, hostile), *((photo, 0) for photo in NO_PHOTO)]
    extras = [{"source": photo, "face": face} for photo, face in values]
    page = Page(render_html(report_on(extras, len(extras), readable)))
    faces = [
        attributes
        for tag, attributes in page.elements
        if tag == ("img" if readable else "li") and "title" in attributes
    ]
    expected = [
        "crops/0.jpg: face 3 of photos/party.jpg",
        f"crops/1.jpg: face 0 of {hostile}",
        f"crops/2.jpg: from {hostile}",
        *(f"crops/{3 + number}.jpg" for number in range(len(NO_PHOTO))),
    ]
    assert [face["title"] for face in faces] == (expected if readable else expected[:8])
    if readable:
        assert [face["alt"] for face in faces] == [f"crops/{row}.jpg" for row in range(len(extras))]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_a_table_without_other_keys_has_no_photos() -> None:
    report = report_on(None, 3)
    assert captions.key_figures(report)[0] == ("3", "faces")
    assert "photo" not in render_text(report) and "photo" not in render_html(report)
    assert Page(render_html(report)).values_of("title")[-3:] == ["crops/0.jpg", "crops/1.jpg", "crops/2.jpg"]


@pytest.mark.parametrize(
    ("photos", "label", "sentence"),
    [
        (["a", "a", "b"], "faces from 2 photos", None),
        (["a", "a", "a"], "faces from 1 photo", None),
        (["a", "b", None], "faces from at least 2 photos", "The photo of 1 face is not known."),
        (["a", 3, ""], "faces from at least 1 photo", "The photo of 2 faces is not known."),
        ([None, 3, ["a"]], "faces", None),
    ],
)
def test_the_report_counts_photos(photos: list[Any], label: str, sentence: str | None) -> None:
    report = build_report(rows_of(photos, [0, 0, 0]))
    assert captions.key_figures(report)[0] == ("3", label)
    html, text = render_html(report), render_text(report)
    assert f"<dt>{label}</dt><dd>3</dd>" in html and f"3 {label}, 1 cluster\n" in text
    assert f"<p>3 {label}, 100% of all faces</p>" in html and f"Cluster 0: 3 {label}, 100% of all faces\n" in text
    for output in (html, text):
        assert (sentence or "is not known") in output if sentence else "is not known" not in output


def test_each_cluster_counts_its_own_photos() -> None:
    photos = ["a", "b", "a", "a", "b", "c", None, "c", 5]
    report = build_report(rows_of(photos, [0, 0, 0, 0, 7, 7, 7, -1, -1]))
    assert captions.key_figures(report)[0] == ("9", "faces from at least 3 photos")
    assert {cluster.number: captions.cluster_size(cluster) for cluster in report.shown_clusters} == {
        0: "4 faces from 2 photos",
        7: "3 faces from at least 2 photos",
        -1: "2 faces from at least 1 photo",
    }


def test_counts_match_sets_of_photos() -> None:
    generator = np.random.default_rng(0)
    photos = [f"photo {number}" if number else None for number in generator.integers(0, 40, 500)]
    clusters = generator.integers(0, 9, 500)
    counts = count_photos(number_photos(rows_of(photos, clusters.tolist())), clusters, 11)
    assert len(counts) == 11
    for cluster, count in enumerate(counts):
        members = [photo for photo, number in zip(photos, clusters, strict=True) if number == cluster]
        assert count.known == len({photo for photo in members if photo is not None})
        assert count.unknown_faces == members.count(None)


def test_boxes_without_crops_are_counted() -> None:
    """A table of fa-align --boxes-only has no column."""
    report = build_report(Table(extras=[{"source": photo, "face": 0} for photo in "aabc"]))
    assert "4 faces from 3 photos\n" in render_text(report)
    assert "<dt>faces from 3 photos</dt><dd>4</dd>" in render_html(report)


def test_the_command_reads_rows_of_fa_align_from_a_pipe(run: Run, tmp_path: Path) -> None:
    rows = []
    for row in range(5):
        path = tmp_path / f"party-{row}.png"
        Image.fromarray(np.full((24, 20, 3), 40 * row, np.uint8)).save(path)
        rows.append({"path": str(path), "cluster": 0, "source": f"photos/{row // 3}.jpg", "face": row % 3})
    rows[0] |= {
        "box": [1.5, 2, 30, 40],
        "landmarks": [[1, 2]] * 5,
        "detection": 0.99,
        "transform": [[1, 0, 0], [0, 1, 0]],
    }
    table = "".join(json.dumps(row) + "\n" for row in rows).encode()
    done = run("report", "-", "-o", tmp_path / "report.html", input=table)
    assert b"a report on 5 faces from 2 photos;" in done.stderr
    titles = Page((tmp_path / "report.html").read_text("utf-8")).values_of("title")
    assert f"{tmp_path}/party-4.png: face 1 of photos/1.jpg" in titles
    text = run("report", "-", "--format", "text", input=table).stdout.decode()
    assert "5 faces from 2 photos, 1 cluster\n" in text and max(map(len, text.splitlines())) <= COLUMNS
    unknown = table.replace(b'"source"', b'"other"', 1)
    assert (
        b"a report on 5 faces from at least 2 photos;" in run("report", "-", "--format", "text", input=unknown).stderr
    )


def test_other_keys_do_not_change_eigenfaces(run: Run, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for row in range(6):
        path = tmp_path / f"{row}.png"
        Image.fromarray(generator.integers(0, 256, (24, 20, 3), np.uint8)).save(path)
        rows.append({"path": str(path), "cluster": row % 2})
    pictures = []
    for name, keys in (("plain", {}), ("aligned", {"source": "photos/a.jpg", "face": 0, "box": [1, 2, 3, 4]})):
        table = "".join(json.dumps(row | keys) + "\n" for row in rows).encode()
        run("eigenface", "-", "-o", tmp_path / name, input=table)
        pictures.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert len(pictures[0]) >= 4 and pictures[0] == pictures[1]
