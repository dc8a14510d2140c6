"""Thresholds: what is chosen on some faces serves others, and scores moved by it keep their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from facetools.network import thresholds
from facetools.prediction import metrics


def faces(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a rare and of a common attribute, and scores whose best thresholds are known to be far from 0.5."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, 2)) < [0.1, 0.6]).astype(np.uint8)
    logits = rng.normal(0, 1, labels.shape) + labels * 2 - [4, -1]
    return labels, (1 / (1 + np.exp(-logits))).astype(np.float32)


@pytest.mark.parametrize(("aim", "measure"), [("accuracy", "accuracy"), ("balanced", "balanced_accuracy")])
def test_they_serve_their_aim_on_other_faces(aim: str, measure: str) -> None:
    chosen = thresholds.choose_thresholds(*faces(2000, 0), aim)
    labels, scores = faces(20_000, 1)
    best = np.max(
        [metrics.metrics_by_attribute(labels, scores, at)[measure] for at in np.linspace(0.001, 0.999, 999)], axis=0
    )
    moved = thresholds.recenter_scores(scores, chosen)
    assert (metrics.metrics_by_attribute(labels, moved)[measure] > best - 0.01).all()
    assert metrics.metrics_by_attribute(labels, scores)["balanced_accuracy"][0] < 0.6


def test_an_attribute_of_one_class_keeps_a_half() -> None:
    labels, scores = np.array([[0, 1], [0, 1]], np.uint8), np.array([[0.9, 0.1], [0.2, 0.3]])
    for aim in thresholds.THRESHOLD_CRITERIA:
        assert thresholds.choose_thresholds(labels, scores, aim).tolist() == [0.5, 0.5]
        assert thresholds.choose_thresholds(labels[:0], scores[:0], aim).tolist() == [0.5, 0.5]


def test_classes_that_are_told_apart_are_parted_between() -> None:
    labels = np.array([[0], [0], [1], [1]], np.uint8)
    for aim in thresholds.THRESHOLD_CRITERIA:
        chosen = thresholds.choose_thresholds(labels, np.array([[0.05], [0.1], [0.3], [0.4]]), aim)
        assert 0.1 < chosen[0] < 0.3


@given(arrays.arrays(np.float32, (20, 1), elements=st.floats(0, 1, width=32)), st.floats(0.001, 0.999), st.booleans())
def test_moved_scores_decide_alike_and_keep_their_order(scores: np.ndarray, at: float, exact: bool) -> None:
    if exact:
        at = float(np.clip(scores[0, 0], 0.001, 0.999))
    moved = thresholds.recenter_scores(scores, np.array([at]))
    assert moved.dtype == np.float32 and moved.min() >= 0 and moved.max() <= 1
    assert ((moved >= 0.5) == (scores.astype(float) >= at)).all()
    order = np.argsort(scores[:, 0], kind="stable")
    assert (np.diff(moved[order, 0]) >= 0).all()


def test_a_threshold_of_a_half_moves_nothing() -> None:
    scores = np.linspace(0.01, 0.99, 50, dtype=np.float32)[:, None]
    np.testing.assert_allclose(thresholds.recenter_scores(scores, np.array([0.5])), scores, rtol=1e-6)
