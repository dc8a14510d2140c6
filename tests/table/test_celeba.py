"""The layout of CelebA's folder, and the selection of a partition."""

import re
from pathlib import Path

import pytest

from facetools.table.celeba import CelebAError, CelebALayout
from facetools.table.matching import MatchError


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


def test_partitions_tell_equal_file_names_apart(tmp_path: Path) -> None:
    partition = tmp_path / "list_eval_partition.txt"
    partition.write_text("n1/1.jpg 0\nn1/2.jpg 2\nn2/1.jpg 2\nn2/2.jpg 0\n")
    layout = CelebALayout(tmp_path / "images", None, partition)
    paths = [f"images/n{person}/{number}.jpg" for person in (1, 2, 3) for number in (1, 2)]
    summaries: list[str] = []
    assert layout.select_partition(paths, "test", summaries.append) == ["images/n1/2.jpg", "images/n2/1.jpg"]
    assert summaries == [f"{partition}: 4 of 6 images matched, by path suffix (images/n1/1.jpg by n1/1.jpg)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.jpg 0\n", "1.jpg (line 1) fits both images/n1/1.jpg and images/n2/1.jpg"),
        ("a/1.jpg 0\nb/1.jpg 1\n", "images/n1/1.jpg fits both a/1.jpg (line 1) and b/1.jpg (line 2)"),
        ("n1/1.jpg 0\n\nn1/1.jpg 1\n", "lines 1 and 3 give n1/1.jpg different partitions"),
        ("9.jpg 0\n", "no name fits any of the images, such as images/n1/1.jpg; the first name is 9.jpg (line 1)"),
    ],
)
def test_unclear_partitions_are_refused(text: str, message: str, tmp_path: Path) -> None:
    partition = tmp_path / "list_eval_partition.txt"
    partition.write_text(text)
    with pytest.raises(MatchError, match=f"^{partition}: {re.escape(message)}"):
        CelebALayout(tmp_path / "images", None, partition).select_partition(
            ["images/n1/1.jpg", "images/n2/1.jpg"], "train"
        )
