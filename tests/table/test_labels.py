"""What is known of images, matched by file name."""

from pathlib import Path

import numpy as np
import pytest

from facetools.table import streams
from facetools.table.columns import AttributeColumns, Table, TableError
from facetools.training.teachers import read_teacher_scores


def written(path: Path, names: tuple[str, ...], scores: np.ndarray, files: list[bytes]) -> str:
    with streams.open_writer(str(path), "npy") as writer:
        writer.write(Table(np.array(files), AttributeColumns(names, scores.astype(np.float32))))
    return str(path)


def test_several_teachers_have_the_scores_of_their_mean_logits(tmp_path: Path) -> None:
    files = [b"a/1.jpg", b"a/2.jpg", b"a/3.jpg"]
    one = np.array([[0.5, 0.2], [0.9, 0.0], [0.5, 1.0]])
    other = np.array([[0.5, 0.2], [0.1, 0.0], [0.9, 0.5]])
    sources = [
        written(tmp_path / "one.npy", ("Left", "Right"), one, files),
        written(tmp_path / "other.npy", ("Right", "Left"), other[::-1, ::-1], files[::-1]),
    ]
    found = read_teacher_scores(sources, ["b.zip/3.jpg", "2.jpg", "1.jpg"], ("Right", "Left"))
    assert found.dtype == np.float32
    # (1 and 1/2), (1/2 and 9/10): odds of 10^3 and of 3; (9/10 and 1/10): odds of 1.
    expected = [[1000 / 1001, 0.75], [1e-6, 0.5], [0.2, 0.5]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(read_teacher_scores(sources[:1], ["1.jpg"], ("Left",)), [[0.5]])


def test_a_teacher_has_something_to_say_of_all(tmp_path: Path) -> None:
    source = written(tmp_path / "one.npy", ("Left",), np.array([[0.5]]), [b"1.jpg"])
    with pytest.raises(TableError, match=r"one\.npy: no scores of 2\.jpg"):
        read_teacher_scores([source], ["1.jpg", "2.jpg"], ("Left",))
    with pytest.raises(TableError, match=r"one\.npy: no scores of attribute Right"):
        read_teacher_scores([source], ["1.jpg"], ("Left", "Right"))
    (tmp_path / "labels.jsonl").write_text('{"path":"1.jpg","labels":{"Left":1}}\n')
    with pytest.raises(TableError, match=r"labels\.jsonl: no scores with paths"):
        read_teacher_scores([str(tmp_path / "labels.jsonl")], ["1.jpg"], ("Left",))
