"""Overlaps of boxes and non-maximum suppression."""

from __future__ import annotations

import numpy as np
import pytest

from facetools.photos.boxes import overlaps, suppress, to_squares

BOXES = np.array([(0, 0, 10, 10), (0, 0, 10, 8), (2, 2, 6, 6), (20, 20, 30, 30)], float)


def test_overlaps() -> None:
    assert overlaps(BOXES[0], BOXES) == pytest.approx([1, 0.8, 0.16, 0])
    assert overlaps(BOXES[0], BOXES, "smaller") == pytest.approx([1, 1, 1, 0])
    assert overlaps(BOXES[0], np.array([(5, 5, 5, 5)], float)) == pytest.approx([0])  # a box without area


def test_suppress_keeps_the_best_of_overlapping_boxes() -> None:
    scores = np.array([0.8, 0.9, 0.7, 0.1])
    assert suppress(BOXES, scores, 0.5).tolist() == [1, 2, 3]
    assert suppress(BOXES, scores, 0.5, "smaller").tolist() == [1, 3]
    assert suppress(BOXES, scores, 1.0).tolist() == [1, 0, 2, 3]
    assert suppress(BOXES[:0], scores[:0], 0.5).tolist() == []


def test_equal_scores_keep_the_first_box() -> None:
    assert suppress(np.repeat(BOXES[:1], 3, axis=0), np.ones(3), 0.5).tolist() == [0]


def test_squares_have_the_same_centers() -> None:
    assert to_squares(BOXES[1:3]).tolist() == [[0, -1, 10, 9], [2, 2, 6, 6]]
