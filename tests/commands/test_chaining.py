"""Face tables as sources of images: what is not computed passes through."""

from __future__ import annotations

import gzip
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facetools.commands.files import FoundImages
from facetools.table import columns, streams
from tests.conftest import Run, command, run_processes
from tests.photos.markers import draw_photo, marker_file

#: The keys of the rows of `table`, apart from `path`.
ROWS: list[dict[str, Any]] = [
    {
        "labels": {"Smiling": number % 2, "Other": 1},
        "cluster": number,
        "source": f"ü{number}.jpg",
        "box": [1, 2.5, {"x": None}],
    }
    for number in range(4)
]


def parse(stdout: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


@pytest.fixture
def table(tmp_path: Path) -> list[dict[str, Any]]:
    """The rows of table.jsonl, which names four images in faces/."""
    (tmp_path / "faces").mkdir()
    rows = []
    for number, row in enumerate(ROWS):
        path = f"faces/{number}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (40, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / path)
        rows.append({"path": path, **row})
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def without_scores(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    assert all(len(row["scores"]) == 37 for row in rows)
    return [{key: value for key, value in row.items() if key != "scores"} for row in rows]


def test_predictions_keep_all_other_columns_and_keys(table: list[dict[str, Any]], run: Run, tmp_path: Path) -> None:
    done = run("predict", "table.jsonl", cwd=tmp_path)
    assert without_scores(parse(done.stdout)) == table
    assert b"1 attributes: mean accuracy" in done.stderr  # of the label that the model has
    piped = run("predict", "-", cwd=tmp_path, input=(tmp_path / "table.jsonl").read_bytes())
    assert piped.stdout == done.stdout
    (tmp_path / "table.jsonl.gz").write_bytes(gzip.compress((tmp_path / "table.jsonl").read_bytes()))
    assert run("predict", "table.jsonl.gz", cwd=tmp_path).stdout == done.stdout
    again = run("predict", "-", cwd=tmp_path, input=done.stdout)
    assert again.stdout == done.stdout


def test_tables_in_npy_keep_their_columns(table: list[dict[str, Any]], run: Run, tmp_path: Path) -> None:
    clusters = np.arange(4, dtype=np.int32)
    with streams.open_writer(str(tmp_path / "t.npy"), "npy") as writer:
        writer.write(columns.Table(columns.encode_paths(row["path"] for row in table), cluster=clusters))
    done = run("predict", "t.npy", cwd=tmp_path)
    assert done.stdout.startswith(b"\x93NUMPY")
    rows = parse(run("predict", "t.npy", "--format", "jsonl", cwd=tmp_path).stdout)
    assert [(row["path"], row["cluster"]) for row in rows] == [(row["path"], row["cluster"]) for row in table]
    blocks = (tmp_path / "t.npy").read_bytes() * 2  # as a pipe carries them
    assert len(parse(run("predict", "-", "--format", "jsonl", cwd=tmp_path, input=blocks).stdout)) == 8
    for input in ((tmp_path / "t.npy").read_bytes(), blocks):
        copies = parse(run("augment", "-", "-o", "out", cwd=tmp_path, input=input).stdout)
        assert [(copy["source"], copy["cluster"]) for copy in copies] == [
            (row["path"], row["cluster"]) for row in table * (len(copies) // 4)
        ]
    np.save(tmp_path / "no.npy", np.zeros((2, 3), np.float32))
    assert b"no.npy: the table has no column 'path'" in run("predict", "no.npy", cwd=tmp_path, check=1).stderr


def test_rows_without_an_image_do_not_shift_the_others(table: list[dict[str, Any]], run: Run, tmp_path: Path) -> None:
    rows = [table[1], {**table[0], "path": "faces/none.png"}, table[2], {**table[2], "cluster": 9}, table[0]]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    for options in ((), ("--batch", "1"), ("--jobs", "1", "--batch", "2")):
        done = run("predict", "-", *options, cwd=tmp_path, input=lines, check=3)
        assert without_scores(parse(done.stdout)) == [rows[0], *rows[2:]]
        assert b"faces/none.png" in done.stderr and b"1 input was left out" in done.stderr


def test_new_labels_replace_those_of_the_table(table: list[dict[str, Any]], run: Run, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,Smiling\n1.png,1\n2.png,0\n")
    done = run("predict", "table.jsonl", "--labels", "labels.csv", cwd=tmp_path, check=3)
    rows = without_scores(parse(done.stdout))
    assert rows == [{**table[1], "labels": {"Smiling": 1}}, {**table[2], "labels": {"Smiling": 0}}]


def test_parts_keep_all_keys(table: list[dict[str, Any]], run: Run, tmp_path: Path) -> None:
    """Although one image is missing, and one is named twice with different keys."""
    rows = [table[0], {**table[3], "path": "faces/none.png"}, table[1], {**table[0], "cluster": 9}, *table[2:]]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    expected = [rows[0], *rows[2:]]
    run("predict", "rows.jsonl", "-o", "s.jsonl", "--parts", "--batch", "1", cwd=tmp_path, check=3)
    (tmp_path / "s.jsonl.parts" / "000002.jsonl").unlink()
    done = run("predict", "rows.jsonl", "-o", "s.jsonl", "--resume", "--batch", "1", cwd=tmp_path, check=3)
    assert b"left out faces/none.png: was left out by an earlier run" in done.stderr
    assert b"1 input was left out" in done.stderr
    assert without_scores(parse((tmp_path / "s.jsonl").read_bytes())) == expected
    line = command("predict", "rows.jsonl", "-o", "two.jsonl", "--batch", "1", "-j", "1")
    first, second = run_processes(2, line, cwd=tmp_path)
    assert first.returncode == 3, first.stderr
    assert (first.stderr + second.stderr).count(b"left out faces/none.png") == 1
    assert b"1 input was left out" in first.stderr
    assert (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "s.jsonl").read_bytes()
    run("predict", "table.jsonl", "-o", "t.jsonl", "--parts", cwd=tmp_path)
    changed = (tmp_path / "table.jsonl").read_text().replace('"cluster": 3', '"cluster": 7')
    (tmp_path / "table.jsonl").write_text(changed)
    done = run("predict", "table.jsonl", "-o", "t.jsonl", "--resume", cwd=tmp_path, check=1)
    assert b"parts of another table, with different rows" in done.stderr


def test_copies_keep_the_photograph_of_their_face(table: list[dict[str, Any]], run: Run, tmp_path: Path) -> None:
    copies = parse(run("augment", "table.jsonl", "-o", "out", "--copies", "2", cwd=tmp_path).stdout)
    assert [copy["original"] for copy in copies] == [row["path"] for row in table for _ in range(2)]
    for copy, row in zip(copies, (row for row in table for _ in range(2)), strict=True):
        assert {key: copy[key] for key in ("labels", "cluster", "source", "box")} == {
            key: row[key] for key in ("labels", "cluster", "source", "box")
        }
    rows = [{**table[1], "path": "faces/none.png"}, table[1], table[0], {**table[0], "cluster": 9}]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    copies = parse(run("augment", "-", "-o", "out", cwd=tmp_path, input=lines, check=3).stdout)
    assert [(copy["original"], copy["cluster"]) for copy in copies] == [
        (row["path"], row["cluster"]) for row in rows[1:]
    ]
    (tmp_path / "plain.jsonl").write_text('{"path": "faces/0.png"}\n')
    (copy,) = parse(run("augment", "plain.jsonl", "-o", "out", cwd=tmp_path).stdout)
    assert copy["source"] == "faces/0.png" and "original" not in copy


@pytest.mark.parametrize(
    ("arguments", "text", "code", "message"),
    [
        (("table.jsonl", "faces"), "", 2, b"only source"),
        (("-", "faces"), '{"path": "faces/0.png"}\n', 2, b"standard input is a face table"),
        (("-",), '{"scores": {"Smiling": 1}}\n', 1, b"no column 'path'"),
        (("-",), '{"path": 3}\n', 1, b"line 1"),
        (("-",), "[]", 1, b"the input has no rows"),
        (("-",), "", 1, b"there are no images"),
        (("empty.jsonl",), "", 1, b"empty.jsonl: the file is empty"),
        (("-",), '{"path": "faces/0.png"}\n{', 1, b"line 2"),
        (("table.jsonl", "--partition", "test"), "", 1, b"CelebA's layout"),
        (("table.jsonl", "-0"), "", 2, b"--null"),
        (("table.jsonl", "-o", "table.jsonl"), "", 2, b"would replace the input table.jsonl"),
    ],
)
def test_tables_that_cannot_be_sources(
    arguments: tuple[str, ...], text: str, code: int, message: bytes, table: object, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "empty.jsonl").touch()
    done = run("predict", *arguments, cwd=tmp_path, input=text.encode(), check=code)
    assert message in done.stderr and not done.stdout


def test_lists_of_paths_on_stdin_are_read_as_before(table: list[dict[str, Any]], run: Run, tmp_path: Path) -> None:
    paths = [row["path"] for row in table]
    done = run("predict", "-", cwd=tmp_path, input="\n".join(paths).encode())
    assert [row["path"] for row in parse(done.stdout)] == paths
    done = run("predict", "-0", "-", cwd=tmp_path, input="\0".join(paths).encode())
    assert [row["path"] for row in parse(done.stdout)] == paths


def test_photographs_go_to_a_report_in_one_stream(run: Run, tmp_path: Path) -> None:
    marker_file(tmp_path / "markers.onnx")
    (tmp_path / "photos").mkdir()
    for number in range(6):
        draw_photo([(2, 2, 60), (4, 4, 44)], seed=number).save(tmp_path / "photos" / f"{number}.png")
    steps = [
        command("align", "photos", "-o", "crops", "--detector", "markers.onnx"),
        command("predict", "-"),
        command("cluster", "-k", "1", "--attributes", "paper10"),
        ["tee", "clusters.jsonl"],
        command("eigenface", "-", "-o", "eigenfaces"),
    ]
    line = " | ".join(shlex.join(step) for step in steps)
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, capture_output=True, check=True)
    (eigenface,) = parse(done.stdout)
    assert (eigenface["cluster"], eigenface["faces"]) == (0, 12)
    rows = parse((tmp_path / "clusters.jsonl").read_bytes())
    assert [(row["source"], row["face"]) for row in rows] == [
        (f"photos/{number}.png", face) for number in range(6) for face in range(2)
    ]
    assert all({"path", "scores", "cluster", "box", "landmarks", "transform"} <= row.keys() for row in rows)
    report = run("report", "clusters.jsonl", "--format", "text", cwd=tmp_path).stdout
    assert b"12 faces from 6 photos" in report


@pytest.mark.parametrize("name", ["-", "t.jsonl", "t.jsonl.gz"])
def test_all_faces_of_a_photo_have_the_keys_of_its_row(name: str, run: Run, tmp_path: Path) -> None:
    """The keys that fa-align computes replace those of the table."""
    marker_file(tmp_path / "markers.onnx")
    draw_photo([(2, 2, 60), (4, 4, 44)]).save(tmp_path / "two.png")
    draw_photo([]).save(tmp_path / "none.png")
    paths = ["two.png", "none.png", "missing.png", "two.png"]
    table = [
        {"path": path, "scores": {"Smiling": 0.5}, "labels": {"Smiling": 1}, "cluster": number}
        | {"source": "old", "face": 7, "box": "old", "photographer": "Zoë 眼", "id": 2**63 + number}
        for number, path in enumerate(paths)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in table).encode()
    (tmp_path / "t.jsonl").write_bytes(lines)
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(lines))
    done = run("align", name, "-o", "crops", "--detector", "markers.onnx", cwd=tmp_path, input=lines, check=3)
    assert b"2 inputs were left out" in done.stderr
    rows = parse(done.stdout)
    assert [(row["path"], row["face"], row["cluster"]) for row in rows] == [
        (f"crops/two-{face}.jpg", face, cluster) for cluster in (0, 3) for face in range(2)
    ]
    for row in rows:
        assert row["source"] == "two.png" and row["box"][2] in (60, 44)
        expected = table[row["cluster"]]
        for key in ("scores", "labels", "photographer", "id"):
            assert row[key] == expected[key]


def test_clusters_in_npy_become_keys_of_the_faces(run: Run, tmp_path: Path) -> None:
    marker_file(tmp_path / "markers.onnx")
    draw_photo([(2, 2, 60)]).save(tmp_path / "one.png")
    with streams.open_writer(str(tmp_path / "t.npy"), "npy") as writer:
        writer.write(columns.Table(columns.encode_paths(["one.png", "one.png"]), cluster=np.int32([5, -1])))
    done = run("align", "t.npy", "--boxes-only", "--detector", "markers.onnx", cwd=tmp_path)
    assert [(row["source"], row["cluster"]) for row in parse(done.stdout)] == [("one.png", 5), ("one.png", -1)]


def test_photographs_are_recognized(photo_folder: Path, run: Run, tmp_path: Path) -> None:
    done = run("predict", photo_folder)
    assert b"fa-align finds the faces in photographs" in done.stderr
    crops = run("align", photo_folder, "-o", tmp_path / "crops", check=3)
    assert b"fa-align finds" not in run("predict", tmp_path / "crops").stderr
    assert b"fa-align finds" not in run("predict", "-", input=crops.stdout).stderr


# FoundImages


def found_images() -> FoundImages:
    """Three images, one of them named twice, with the rows of a face table."""
    paths = ["a", "b", "a", "c"]
    extras = [{"id": 0}, {"id": 1, "source": "s"}, {"id": 2}, {"id": 3}]
    return FoundImages(paths, columns.Table(columns.encode_paths(paths), extras=extras), "npy")


def test_repeated_paths_are_found_in_their_order() -> None:
    images = found_images()
    assert images.find_in_order(["a", "b", "a", "c"], 0) == [0, 1, 2, 3]
    assert images.find_in_order(["a", "c"], 1) == [2, 3]
    assert images.find_in_order(["b", "c"], 0) == [1, 3]
    assert images.find_in_order([], 4) == []
    with pytest.raises(ValueError, match="not in list"):
        images.find_in_order(["b"], 2)


def test_rows_get_the_keys_of_the_images_with_their_numbers() -> None:
    images = found_images()
    rows = columns.Table(columns.encode_paths(["x", "y", "z"]), extras=[{"n": 0}, {"n": 1}, {"id": "own"}])
    added = images.add_columns(rows, [2, 2, 3])
    assert added.extras == [{"n": 0, "id": 2}, {"n": 1, "id": 2}, {"id": "own"}]
    assert [added.path(row) for row in range(3)] == ["x", "y", "z"]
    assert FoundImages(["a"]).add_columns(rows, [0, 0, 0]) is rows


def test_images_are_taken_with_their_rows() -> None:
    images = found_images()
    taken = images.take([1, 3])
    assert (taken.paths, taken.encoding) == (["b", "c"], "npy")
    assert taken.table is not None and taken.table.extras == [{"id": 1, "source": "s"}, {"id": 3}]
    assert taken.has_key(0, "source") and not taken.has_key(1, "source")
    assert not FoundImages(["a"]).has_key(0, "source")
    assert taken.digest() != images.digest() == found_images().digest()
    assert FoundImages(["a"]).digest() == ""
