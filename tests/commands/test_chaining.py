"""Face tables as sources of images: what is not computed passes through."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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
    expected = run("predict", "table.jsonl", cwd=tmp_path).stdout
    run("predict", "table.jsonl", "-o", "s.jsonl", "--parts", "--batch", "1", cwd=tmp_path)
    (tmp_path / "s.jsonl.parts" / "000002.jsonl").unlink()
    run("predict", "table.jsonl", "-o", "s.jsonl", "--resume", "--batch", "1", cwd=tmp_path)
    assert without_scores(parse((tmp_path / "s.jsonl").read_bytes())) == without_scores(parse(expected))
    line = command("predict", "table.jsonl", "-o", "two.jsonl", "--batch", "1", "-j", "1")
    assert [process.returncode for process in run_processes(2, line, cwd=tmp_path)] == [0, 0]
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
        (("-",), '{"path": "faces/0.png"}\n{', 1, b"line 2"),
        (("table.jsonl", "--partition", "test"), "", 1, b"CelebA's layout"),
        (("table.jsonl", "-0"), "", 2, b"--null"),
        (("table.jsonl", "-o", "table.jsonl"), "", 2, b"would replace the input table.jsonl"),
    ],
)
def test_tables_that_cannot_be_sources(
    arguments: tuple[str, ...], text: str, code: int, message: bytes, table: object, run: Run, tmp_path: Path
) -> None:
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
    ]
    line = " | ".join(f"'{step[0]}' {' '.join(step[1:])}" for step in steps)
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, capture_output=True, check=True)
    rows = parse(done.stdout)
    assert [(row["source"], row["face"]) for row in rows] == [
        (f"photos/{number}.png", face) for number in range(6) for face in range(2)
    ]
    assert all({"path", "scores", "cluster", "box", "landmarks", "transform"} <= row.keys() for row in rows)
    (tmp_path / "clusters.jsonl").write_bytes(done.stdout)
    run("eigenface", "clusters.jsonl", "-o", "eigenfaces", cwd=tmp_path)
    report = run("report", "clusters.jsonl", "--format", "text", cwd=tmp_path).stdout
    assert b"12 faces from 6 photos" in report
    boxes = parse(
        run("align", "clusters.jsonl", "--boxes-only", "--detector", "markers.onnx", cwd=tmp_path, check=None).stdout
    )
    assert all("cluster" in row for row in boxes)


def test_photographs_are_recognized(photo_folder: Path, run: Run, tmp_path: Path) -> None:
    done = run("predict", photo_folder)
    assert b"fa-align finds the faces in photographs" in done.stderr
    crops = run("align", photo_folder, "-o", tmp_path / "crops", check=3)
    assert b"fa-align finds" not in run("predict", tmp_path / "crops").stderr
    assert b"fa-align finds" not in run("predict", "-", input=crops.stdout).stderr
