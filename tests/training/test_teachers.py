"""Teacher scores for distillation, matched to images by their paths."""

from pathlib import Path

import numpy as np
import pytest

from facetools.table import streams
from facetools.table.columns import AttributeColumns, Table, TableError
from facetools.table.matching import MatchError
from facetools.training.teachers import read_teacher_scores


def write_scores(path: Path, names: tuple[str, ...], scores: np.ndarray, files: list[bytes]) -> str:
    with streams.open_writer(str(path), "npy") as writer:
        writer.write(Table(np.array(files), AttributeColumns(names, scores.astype(np.float32))))
    return str(path)


def test_several_teachers_are_averaged_as_logits(tmp_path: Path) -> None:
    files = [b"a/1.jpg", b"a/2.jpg", b"a/3.jpg"]
    first = np.array([[0.5, 0.2], [0.9, 0.0], [0.5, 1.0]])
    second = np.array([[0.5, 0.2], [0.1, 0.0], [0.9, 0.5]])
    sources = [
        write_scores(tmp_path / "first.npy", ("Left", "Right"), first, files),
        write_scores(tmp_path / "second.npy", ("Right", "Left"), second[::-1, ::-1], files[::-1]),
    ]
    averaged = read_teacher_scores(sources, ["b.zip/3.jpg", "2.jpg", "1.jpg"], ("Right", "Left"))
    assert averaged.dtype == np.float32
    # Averaging logits means multiplying odds and taking the root: 1 and 1/2 give odds of 10^3, 1/2 and 9/10 odds of 3.
    expected = [[1000 / 1001, 0.75], [1e-6, 0.5], [0.2, 0.5]]
    np.testing.assert_allclose(averaged, expected, rtol=1e-5)
    np.testing.assert_allclose(read_teacher_scores(sources[:1], ["1.jpg"], ("Left",)), [[0.5]])


def test_every_teacher_must_score_all_images_and_attributes(tmp_path: Path) -> None:
    source = write_scores(tmp_path / "scores.npy", ("Left",), np.array([[0.5]]), [b"1.jpg"])
    with pytest.raises(TableError, match=r"scores\.npy: .*2\.jpg"):
        read_teacher_scores([source], ["1.jpg", "2.jpg"], ("Left",))
    with pytest.raises(TableError, match=r"scores\.npy: .*Right"):
        read_teacher_scores([source], ["1.jpg"], ("Left", "Right"))
    (tmp_path / "labels.jsonl").write_text('{"path":"1.jpg","labels":{"Left":1}}\n')
    with pytest.raises(TableError, match=r"labels\.jsonl: no scores with paths"):
        read_teacher_scores([str(tmp_path / "labels.jsonl")], ["1.jpg"], ("Left",))


def test_scores_of_equal_file_names_are_told_apart(tmp_path: Path) -> None:
    files = [b"a/1.jpg", b"b/1.jpg"]
    source = write_scores(tmp_path / "scores.npy", ("Left",), np.array([[0.2], [0.9]]), files)
    summaries: list[str] = []
    scores = read_teacher_scores([source], ["x/b/1.jpg", "x/a/1.jpg"], ("Left",), on_match=summaries.append)
    np.testing.assert_allclose(scores, [[0.9], [0.2]], rtol=1e-5)
    assert summaries == [f"{source}: 2 of 2 images matched, by path suffix (x/b/1.jpg by b/1.jpg)"]
    with pytest.raises(MatchError, match=r"scores\.npy: c/1\.jpg fits both a/1\.jpg \(row 1\) and b/1\.jpg \(row 2\)"):
        read_teacher_scores([source], ["c/1.jpg"], ("Left",))
    repeated = write_scores(tmp_path / "repeated.npy", ("Left",), np.array([[0.2], [0.9]]), [b"a/1.jpg", b"a/1.jpg"])
    with pytest.raises(MatchError, match=r"repeated\.npy: rows 1 and 2 give a/1\.jpg different scores"):
        read_teacher_scores([repeated], ["a/1.jpg"], ("Left",))
