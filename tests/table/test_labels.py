"""Ground-truth labels from all kinds of sources, matched to images by their paths."""

from pathlib import Path

import numpy as np
import pytest

from facetools.table.columns import TableError
from facetools.table.labels import GroundTruth
from facetools.table.matching import MatchError

LIST = "2\nBald Male Young\na/1.jpg -1 1 1\na/2.jpg 1 -1 1\n"
TABLE = (
    '{"path":"a/1.jpg","labels":{"Bald":0,"Male":1,"Young":1}}\n'
    '{"path":"2.jpg","labels":{"Bald":1,"Male":0,"Young":1}}\n'
)


@pytest.fixture(params=["list", "folder", "table"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    (tmp_path / "images").mkdir()
    (tmp_path / "list_attr_celeba.txt").write_text(LIST)
    (tmp_path / "faces.jsonl").write_text(TABLE)
    paths = {"list": tmp_path / "list_attr_celeba.txt", "folder": tmp_path, "table": tmp_path / "faces.jsonl"}
    return str(paths[request.param])


def test_labels_are_matched_by_path(source: str) -> None:
    truth = GroundTruth.read(source)
    found = truth.match(["faces.zip/2.jpg", "x/y/1.jpg", "faces.zip/2.jpg"])
    labels = found.labels_for(["faces.zip/2.jpg", "x/y/1.jpg", "faces.zip/2.jpg"])
    assert truth.names == labels.names == ("Bald", "Male", "Young")
    assert labels.values.dtype == np.uint8
    assert labels.values.tolist() == [[1, 0, 1], [0, 1, 1], [1, 0, 1]]
    assert "2 of 2 images matched, by file name (faces.zip/2.jpg by " in found.summary


def test_labels_can_be_limited_to_attributes(source: str) -> None:
    truth = GroundTruth.read(source, ("Young", "Smiling", "Bald"))
    assert truth.names == ("Young", "Bald")
    found = truth.match(["1.jpg"])
    assert found.labels_for(["1.jpg"]).values.tolist() == [[1, 0]]
    assert found.labels_for(["1.jpg"], ("Bald",)).values.tolist() == [[0]]
    with pytest.raises(TableError, match="no labels for any of the attributes Smiling"):
        GroundTruth.read(source, ("Smiling",))


def test_images_without_labels_are_told_apart(source: str) -> None:
    found = GroundTruth.read(source).match(["2.jpg", "3.jpg", "b/1.jpg"])
    assert [path in found for path in ("2.jpg", "3.jpg", "b/1.jpg")] == [True, False, True]
    with pytest.raises(KeyError):
        found.labels_for(["3.jpg"])


def test_a_path_with_different_labels_is_refused_with_its_lines(tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("image_id,Bald,Male\n1.jpg,1,1\n\n2.jpg,0,0\n1.jpg,1,1\n1.jpg,1,0\n")
    # Refused whatever attribute is used.
    with pytest.raises(MatchError, match=rf"^{listed}: lines 2 and 6 give 1\.jpg different labels$"):
        GroundTruth.read(str(listed), ("Bald",))
    listed.write_text("image_id,Bald,Male\n1.jpg,1,1\n\n2.jpg,0,0\n1.jpg,1,1\n")
    assert GroundTruth.read(str(listed)).match(["1.jpg"]).labels_for(["1.jpg"]).values.tolist() == [[1, 1]]


def test_a_table_without_labels_or_paths_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "faces.jsonl"
    for row in ('{"path":"1.jpg","cluster":1}', '{"labels":{"Bald":1}}'):
        path.write_text(row)
        with pytest.raises(TableError, match=r"faces\.jsonl: no labels with paths"):
            GroundTruth.read(str(path))
