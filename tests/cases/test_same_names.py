"""A folder per person, whose files have the same names: labels, teachers and partitions are never mixed up.

As in LFW, VGGFace2 and CASIA (Duplicate-Image-Finder #33, supervision #2551, miniwdl #643).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, Run

#: The label of Male of each person, and files per person.
PERSONS = {"n000001": 0, "n000002": 1}
FILES = [f"{number:04d}_01.jpg" for number in range(1, 5)]
NAMES = [f"{person}/{file}" for person in PERSONS for file in FILES]
MALE = [PERSONS[name.split("/")[0]] for name in NAMES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """faces/PERSON/FILE and labels of the same images in several forms."""
    folder = tmp_path_factory.mktemp("same-names")
    rng = np.random.default_rng(0)
    for name in NAMES:
        path = folder / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 32, 3), np.uint8)).save(path)
    rows = list(zip(NAMES, MALE, strict=True))
    (folder / "labels.csv").write_text("image_id,Male,Young\n" + "".join(f"{name},{male},1\n" for name, male in rows))
    lines = "".join(f"{name} {male} 1\n" for name, male in rows)
    (folder / "labels.txt").write_text(f"{len(rows)}\nMale Young\n{lines}")
    (folder / "windows.csv").write_text(
        "image_id,Male,Young\n" + "".join(f"C:\\data\\{name.replace('/', chr(92))},{male},1\n" for name, male in rows)
    )
    (folder / "png.csv").write_text(
        "image_id,Male,Young\n" + "".join(f"{name.replace('.jpg', '.png')},{male},1\n" for name, male in rows)
    )
    (folder / "labels.jsonl").write_text(
        "".join(
            json.dumps({"path": f"faces/{name}", "labels": {"Male": male, "Young": 1}}) + "\n" for name, male in rows
        )
    )
    (folder / "bare.csv").write_text("image_id,Male\n" + "".join(f"{file},1\n" for file in FILES))
    return folder


def predict(run: Run, folder: Path, *arguments: str, check: int = 0) -> tuple[list[tuple[str, int]], str]:
    done = run("predict", *arguments, cwd=folder, check=check)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [(row["path"], row["labels"]["Male"]) for row in rows], done.stderr.decode()


@pytest.mark.parametrize(
    ("labels", "way"),
    [
        ("labels.csv", ", by path suffix (faces/n000001/0001_01.jpg by n000001/0001_01.jpg)"),
        ("labels.txt", ", by path suffix (faces/n000001/0001_01.jpg by n000001/0001_01.jpg)"),
        ("labels.jsonl", ""),
        ("windows.csv", r", by path suffix (faces/n000001/0001_01.jpg by C:\data\n000001\0001_01.jpg)"),
        ("png.csv", ", by file name without suffix (faces/n000001/0001_01.jpg by n000001/0001_01.png)"),
    ],
)
def test_labels_follow_the_folder(labels: str, way: str, folder: Path, run: Run) -> None:
    rows, stderr = predict(run, folder, "faces", "--labels", labels)
    assert rows == [(f"faces/{name}", male) for name, male in zip(NAMES, MALE, strict=True)]
    assert f"fa-predict: {labels}: 8 of 8 images matched{way}\n" in stderr


def test_ambiguous_labels_are_refused_with_both_sides(folder: Path, run: Run) -> None:
    rows, stderr = predict(run, folder, "faces", "--labels", "bare.csv", check=1)
    assert rows == []
    assert "bare.csv: 0001_01.jpg (line 2) fits both faces/n000001/0001_01.jpg and faces/n000002/0001_01.jpg" in stderr
    (folder / "other").symlink_to(folder / "faces" / "n000001")
    rows, stderr = predict(run, folder, "other", "--labels", "labels.csv", check=1)
    assert rows == []
    assert "other/0001_01.jpg fits both n000001/0001_01.jpg (line 2) and n000002/0001_01.jpg (line 6)" in stderr


def test_a_name_with_two_labels_is_refused_with_both_lines(folder: Path, run: Run) -> None:
    text = (folder / "labels.csv").read_text()
    (folder / "twice.csv").write_text(f"{text}{NAMES[2]},1,1\n")
    # Also if no image needs it.
    rows, stderr = predict(run, folder, "faces/n000002", "--labels", "twice.csv", check=1)
    assert rows == []
    assert f"twice.csv: lines 4 and 10 give {NAMES[2]} different labels\n" in stderr
    (folder / "twice.csv").write_text(f"{text}{NAMES[2]},0,1\n")
    assert len(predict(run, folder, "faces", "--labels", "twice.csv")[0]) == 8


def test_no_match_is_one_sentence(folder: Path, run: Run) -> None:
    (folder / "celeba.csv").write_text("image_id,Male\n000001.jpg,1\n000002.jpg,0\n")
    rows, stderr = predict(run, folder, "faces", "--labels", "celeba.csv", check=1)
    assert rows == []
    assert stderr.count("jpg") == 2
    assert (
        "celeba.csv: no name fits any of the images, such as faces/n000001/0001_01.jpg; "
        "the first name is 000001.jpg (line 2)" in stderr
    )


def test_persons_without_labels_are_left_out(folder: Path, run: Run) -> None:
    (folder / "one.csv").write_text("".join((folder / "labels.csv").read_text().splitlines(keepends=True)[:5]))
    rows, stderr = predict(run, folder, "faces", "--labels", "one.csv", check=3)
    assert rows == [(f"faces/{name}", 0) for name in NAMES[:4]]
    assert "one.csv: 4 of 8 images matched, by path suffix" in stderr
    assert stderr.count("has no labels in one.csv") == 4 and "4 inputs were left out" in stderr


def test_training_uses_the_right_labels(folder: Path, run: Run, tmp_path: Path) -> None:
    settings = (*TINY, "--attributes", "Male", "--epochs", "1", "--valid-share", "0")
    done = run("train", "faces", "--labels", "labels.csv", "-o", tmp_path / "run", *settings, cwd=folder)
    assert b"labels.csv: 8 of 8 images matched, by path suffix" in done.stderr
    failed = run("train", "faces", "--labels", "bare.csv", "-o", tmp_path / "no", *settings, cwd=folder, check=1)
    assert b"fits both" in failed.stderr and not (tmp_path / "no").exists()

    scores = tmp_path / "teacher.jsonl"
    rows = [{"path": name, "scores": {"Male": 0.1 + 0.8 * male}} for name, male in zip(NAMES, MALE, strict=True)]
    scores.write_text("".join(json.dumps(row) + "\n" for row in rows))
    teacher = ("--distillation", "0.5", "--teacher", scores)
    done = run("train", "faces", "--labels", "labels.csv", "-o", tmp_path / "taught", *settings, *teacher, cwd=folder)
    assert b"teacher.jsonl: 8 of 8 images matched, by path suffix" in done.stderr
    scores.write_text("".join(json.dumps(row | {"path": row["path"][8:]}) + "\n" for row in rows))  # type: ignore[index]
    failed = run(
        "train", "faces", "--labels", "labels.csv", "-o", tmp_path / "no", *settings, *teacher, cwd=folder, check=1
    )
    assert b"teacher.jsonl: lines 1 and 5 give 0001_01.jpg different scores" in failed.stderr


def test_reports_use_the_right_labels(folder: Path, run: Run) -> None:
    table = folder / "scores.jsonl"
    rows = [
        {"path": f"faces/{name}", "scores": {"Male": 0.1 + 0.8 * male}} for name, male in zip(NAMES, MALE, strict=True)
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for labels in ("labels.csv", "labels.txt", "labels.jsonl"):
        done = run("report", table, "--labels", labels, "--format", "text", "--faces", "0", cwd=folder)
        assert b"8 faces, 1 attribute, 100.00% mean accuracy" in done.stdout
    failed = run("report", table, "--labels", "bare.csv", "--format", "text", cwd=folder, check=1)
    assert b"fits both" in failed.stderr and not failed.stdout


def test_partitions_follow_the_folder(folder: Path, run: Run, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    layout.mkdir()
    (layout / "images").symlink_to(folder / "faces")
    (layout / "list_attr_celeba.txt").write_text((folder / "labels.txt").read_text())
    numbers = [0, 0, 1, 2, 2, 0, 0, 1]
    partition = layout / "list_eval_partition.txt"
    partition.write_text("".join(f"{name} {number}\n" for name, number in zip(NAMES, numbers, strict=True)))
    rows, stderr = predict(run, tmp_path, "layout", "--partition", "test", "--labels", "layout")
    assert rows == [("layout/images/" + NAMES[3], 0), ("layout/images/" + NAMES[4], 1)]
    assert "layout/list_eval_partition.txt: 8 of 8 images matched, by path suffix" in stderr
    done = run("train", layout, "-o", tmp_path / "run", *TINY, "--attributes", "Male", "--epochs", "1")
    assert b"4 training images, 2 validation images" in done.stderr
    partition.write_text("".join(f"{file} 0\n" for file in FILES))
    rows, stderr = predict(run, tmp_path, "layout", "--partition", "train", "--labels", "layout", check=1)
    assert rows == [] and "list_eval_partition.txt: 0001_01.jpg (line 1) fits both" in stderr
