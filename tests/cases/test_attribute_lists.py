"""Attribute and partition lists as spreadsheets and pandas write them, through the commands.

tests/table/test_lists.py has all variants.
"""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run

HEADER = "image_id,Male,Smiling,Young"
ROWS = ("1.jpg,1,-1,1", "2.jpg,-1,1,1", "3.jpg,1,1,-1", "4.jpg,-1,-1,-1")
CSV = "\n".join((HEADER, *ROWS)) + "\n"
TEXT = "4\nMale Smiling Young\n" + "\n".join(ROWS).replace(",", "  ") + "\n"
CLUSTER = ("-k", "4", "-q")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + CSV.replace(",", ";").replace("\n", "\r\n").encode(),
        CSV.encode("utf-16"),
        "\n".join([f",{HEADER},partition", *(f"{n},{row},0" for n, row in enumerate(ROWS))]).encode(),
        ('"' + CSV.replace("image_id", "File Name").replace(",", '" ,  "').replace("\n", '"\n"')[:-1]).encode(),
    ],
    ids=["text of Windows", "CSV of Excel", "UTF-16", "pandas with a partition", "quotes and blanks"],
)
def test_fa_cluster_reads_lists(content: bytes, run: Run, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(content)
    rows = [json.loads(line) for line in run("cluster", tmp_path / "list", *CLUSTER).stdout.splitlines()]
    assert [row["path"] for row in rows] == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert [list(row["labels"].items()) for row in rows] == [
        [("Male", 1), ("Smiling", 0), ("Young", 1)],
        [("Male", 0), ("Smiling", 1), ("Young", 1)],
        [("Male", 1), ("Smiling", 1), ("Young", 0)],
        [("Male", 0), ("Smiling", 0), ("Young", 0)],
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CSV.replace("Smiling", "Male").encode(), "line 1: columns 2 and 3 are both called 'Male'"),
        (CSV.replace("2.jpg,-1", "2.jpg,").encode(), "line 3: the value of 'Male' is missing"),
        (CSV.replace("2.jpg,-1", "2.jpg,0.83").encode(), "line 3: 'Male' is '0.83', not -1, 0 or 1; a table of scores"),
        (TEXT.replace("4\n", "202599\n", 1).encode(), "line 1 says 202599 rows, but 4 follow"),
        (CSV.replace("3.jpg", "ü.jpg").encode("latin-1"), "line 4: the byte 0xfc is not valid UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a face table, but an image"),
        (b"a.jpg\nb.jpg\n", "line 1: 'a.jpg' is neither a number of rows nor the names of columns"),
    ],
)
def test_fa_cluster_says_what_is_wrong_with_a_list(content: bytes, message: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(content)
    done = run("cluster", path, *CLUSTER, check=1)
    assert not done.stdout
    assert done.stderr.decode().startswith(f"fa-cluster: {path}: {message}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list_eval_partition.txt", "\ufeff1.jpg 1\n2.jpg 0\n3.jpg 2\n4.jpg 1\n"),
        ("list_eval_partition.csv", "\ufeffimage_id,partition\r\n1.jpg,1\r\n2.jpg,0\r\n3.jpg,2\r\n4.jpg,1\r\n"),
        ("list_eval_partition.csv", "file;split\n1.jpg;valid\n2.jpg;train\n3.jpg;test\n4.jpg;val\n"),
    ],
)
def test_a_byte_order_mark_costs_no_face_of_a_partition(name: str, content: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "img_align_celeba").mkdir()
    for number in range(1, 5):
        Image.new("RGB", (89, 109), (40 * number, 80, 90)).save(tmp_path / "img_align_celeba" / f"{number}.jpg")
    (tmp_path / name).write_text(content, "utf-8", newline="")
    done = run("predict", tmp_path, "--partition", "valid", "-q")
    names = [Path(json.loads(line)["path"]).name for line in done.stdout.splitlines()]
    assert names == ["1.jpg", "4.jpg"]
