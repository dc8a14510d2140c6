"""CelebA's layout: attribute lists, partition, identity, and where they lie."""

from pathlib import Path

import numpy as np
import pytest

from facetools.table import celeba
from facetools.table.celeba import CelebAError, CelebALayout

VALUES = [[0, 1], [1, 1], [0, 0]]
TEXT = "3\nBald Young\n000001.jpg -1  1\n000002.jpg  1  1\n000003.jpg -1 -1\n"
CSV = "image_id,Bald,Young\n000001.jpg,-1,1\n000002.jpg,1,1\n000003.jpg,-1,-1\n"


@pytest.mark.parametrize(
    "text",
    [TEXT, CSV, TEXT.replace("-1", "0"), CSV.replace("-1", "0"), CSV.replace("\n", "\r\n")],
)
def test_an_attribute_list(text: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(text, newline="")
    listed = celeba.read_attribute_list(path)
    assert listed.files == ("000001.jpg", "000002.jpg", "000003.jpg")
    assert listed.names == ("Bald", "Young")
    assert listed.values.dtype == np.uint8
    assert listed.values.tolist() == VALUES
    assert listed.row_of == {"000001.jpg": 0, "000002.jpg": 1, "000003.jpg": 2}


def test_rows_are_found_by_the_name_without_folders() -> None:
    listed = celeba.parse_attribute_list("2\nBald\na/1.jpg 1\nb/c/2.jpg 0\n")
    assert listed.row_of == {"1.jpg": 0, "2.jpg": 1}
    assert celeba.file_name("faces.zip/x/1.jpg") == "1.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the attribute list has no header line"),
        ("3\n", "the attribute list has no header line"),
        ("0\n\n", "line 2: no attribute names"),
        ("image_id\n", "line 1: no attribute names"),
        (TEXT.replace("3\n", "4\n", 1), "line 1 says 4 rows, but 3 follow"),
        (TEXT.replace("3\n", "three\n", 1), "line 1 says three rows, but 3 follow"),
        (TEXT.replace("000002.jpg  1  1", "000002.jpg 1"), "line 4: 1 values for 2 attributes"),
        (CSV.replace("000003.jpg,-1,-1", "000003.jpg,1,1,1"), "line 4: 3 values for 2 attributes"),
        (TEXT.replace("000002.jpg  1", "000002.jpg  2"), "Bald of 000002.jpg is 2, not -1, 0 or 1"),
        (CSV.replace("000003.jpg,-1", "000003.jpg,yes"), "Bald of 000003.jpg is yes, not -1, 0 or 1"),
        (CSV.replace("000003.jpg,-1", "000003.jpg,999"), "Bald of 000003.jpg is 999, not -1, 0 or 1"),
        (CSV.replace("000001.jpg,-1", "000001.jpg,0.5"), "Bald of 000001.jpg is 0.5, not -1, 0 or 1"),
    ],
)
def test_a_list_at_fault_is_named_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(text)
    with pytest.raises(CelebAError, match=f"^{path}: {message}$"):
        celeba.read_attribute_list(path)


def test_a_list_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"1\nBald\n\xff.jpg 1\n")
    with pytest.raises(CelebAError, match=f"^{path}: .*utf-8"):
        celeba.read_attribute_list(path)


@pytest.mark.parametrize(
    "text", ["1.jpg 0\n2.jpg 2880\n", "image_id,partition\n1.jpg,0\n2.jpg,2880\n", "1.jpg 0\r\n2.jpg 2880"]
)
def test_partition_and_identity(text: str, tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_text(text, newline="")
    assert celeba.read_number_list(path) == {"1.jpg": 0, "2.jpg": 2880}


@pytest.mark.parametrize("line", ["3.jpg", "3.jpg 1 2", "3.jpg one", "3.jpg -1"])
def test_a_number_at_fault_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_text(f"1.jpg 0\n2.jpg 1\n{line}\n")
    with pytest.raises(CelebAError, match=f"^{path}: line 3: not a file name and a number$"):
        celeba.read_number_list(path)


@pytest.mark.parametrize("images", ["img_align_celeba.zip", "img_align_celeba/", "images/", "anything.zip"])
@pytest.mark.parametrize("suffix", ["txt", "csv"])
def test_the_layouts(suffix: str, images: str, tmp_path: Path) -> None:
    for name in (f"list_attr_celeba.{suffix}", f"list_eval_partition.{suffix}"):
        (tmp_path / name).touch()
    place = tmp_path / images
    place.mkdir() if images.endswith("/") else place.touch()
    found = CelebALayout.find(tmp_path)
    assert found == CelebALayout(
        place, tmp_path / f"list_attr_celeba.{suffix}", tmp_path / f"list_eval_partition.{suffix}"
    )


def test_a_folder_that_is_no_layout(tmp_path: Path) -> None:
    (tmp_path / "img_align_celeba").mkdir()
    assert CelebALayout.find(tmp_path) is None
    assert CelebALayout.find(tmp_path / "missing") is None


@pytest.mark.parametrize("archives", [[], ["a.zip", "b.zip"]])
def test_a_layout_without_its_images(archives: list[str], tmp_path: Path) -> None:
    for name in ("list_attr_celeba.txt", *archives):
        (tmp_path / name).touch()
    with pytest.raises(CelebAError, match=f"^{tmp_path}: no images; img_align_celeba.zip or"):
        CelebALayout.find(tmp_path)


def test_the_images_of_a_partition_keep_their_order(tmp_path: Path) -> None:
    partition = tmp_path / "list_eval_partition.txt"
    partition.write_text("1.jpg 0\n2.jpg 1\n3.jpg 2\n4.jpg 0\n")
    found = CelebALayout(tmp_path / "images", None, partition)
    paths = ["x/4.jpg", "x/3.jpg", "x/unlisted.jpg", "x/2.jpg", "x/1.jpg"]
    assert found.in_partition(paths, "train") == ["x/4.jpg", "x/1.jpg"]
    assert found.in_partition(paths, "valid") == ["x/2.jpg"]
    assert found.in_partition(paths, "test") == ["x/3.jpg"]
    with pytest.raises(CelebAError, match=f"^{tmp_path}: no list_eval_partition.txt or .csv to tell the test"):
        CelebALayout(tmp_path / "images", None, None).in_partition(paths, "test")
