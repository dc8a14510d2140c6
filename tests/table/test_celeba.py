"""CelebA's attribute, partition and identity lists, and the layout of its folder."""

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
def test_attribute_lists_are_read_as_text_and_csv(text: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(text, newline="")
    attributes = celeba.read_attribute_list(path)
    assert attributes.files == ("000001.jpg", "000002.jpg", "000003.jpg")
    assert attributes.names == ("Bald", "Young")
    assert attributes.values.dtype == np.uint8
    assert attributes.values.tolist() == VALUES


def test_file_name_drops_folders_and_archives() -> None:
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
def test_errors_name_the_file_and_the_line_or_value(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(text)
    with pytest.raises(CelebAError, match=f"^{path}: {message}$"):
        celeba.read_attribute_list(path)


def test_a_list_that_is_not_utf_8_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"1\nBald\n\xff.jpg 1\n")
    with pytest.raises(CelebAError, match=f"^{path}: .*utf-8"):
        celeba.read_attribute_list(path)


@pytest.mark.parametrize(
    "text", ["1.jpg 0\n2.jpg 2880\n", "image_id,partition\n1.jpg,0\n2.jpg,2880\n", "1.jpg 0\r\n2.jpg 2880"]
)
def test_number_lists_are_read_as_text_and_csv(text: str, tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_text(text, newline="")
    assert celeba.read_number_list(path) == {"1.jpg": 0, "2.jpg": 2880}


@pytest.mark.parametrize("line", ["3.jpg", "3.jpg 1 2", "3.jpg one", "3.jpg -1"])
def test_number_list_errors_name_the_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_text(f"1.jpg 0\n2.jpg 1\n{line}\n")
    with pytest.raises(CelebAError, match=f"^{path}: line 3: expected a file name and a number$"):
        celeba.read_number_list(path)


@pytest.mark.parametrize("images", ["img_align_celeba.zip", "img_align_celeba/", "images/", "anything.zip"])
@pytest.mark.parametrize("suffix", ["txt", "csv"])
def test_find_recognizes_all_layouts(suffix: str, images: str, tmp_path: Path) -> None:
    for name in (f"list_attr_celeba.{suffix}", f"list_eval_partition.{suffix}"):
        (tmp_path / name).touch()
    images_path = tmp_path / images
    images_path.mkdir() if images.endswith("/") else images_path.touch()
    assert CelebALayout.find(tmp_path) == CelebALayout(
        images_path, tmp_path / f"list_attr_celeba.{suffix}", tmp_path / f"list_eval_partition.{suffix}"
    )


def test_find_returns_none_without_lists(tmp_path: Path) -> None:
    (tmp_path / "img_align_celeba").mkdir()
    assert CelebALayout.find(tmp_path) is None
    assert CelebALayout.find(tmp_path / "missing") is None


@pytest.mark.parametrize("archives", [[], ["a.zip", "b.zip"]])
def test_find_reports_missing_images(archives: list[str], tmp_path: Path) -> None:
    for name in ("list_attr_celeba.txt", *archives):
        (tmp_path / name).touch()
    with pytest.raises(CelebAError, match=f"^{tmp_path}: no images; img_align_celeba.zip or"):
        CelebALayout.find(tmp_path)


def test_select_partition_preserves_the_order_of_paths(tmp_path: Path) -> None:
    partition = tmp_path / "list_eval_partition.txt"
    partition.write_text("1.jpg 0\n2.jpg 1\n3.jpg 2\n4.jpg 0\n")
    layout = CelebALayout(tmp_path / "images", None, partition)
    paths = ["x/4.jpg", "x/3.jpg", "x/unlisted.jpg", "x/2.jpg", "x/1.jpg"]
    assert layout.select_partition(paths, "train") == ["x/4.jpg", "x/1.jpg"]
    assert layout.select_partition(paths, "valid") == ["x/2.jpg"]
    assert layout.select_partition(paths, "test") == ["x/3.jpg"]
    with pytest.raises(CelebAError, match=f"^{tmp_path}: no list_eval_partition.txt or .csv, which selects the test"):
        CelebALayout(tmp_path / "images", None, None).select_partition(paths, "test")
