"""Tests of decision thresholds: they generalize to other faces, and recentered scores keep their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from facetools.network.thresholds import THRESHOLD_CRITERIA, choose_thresholds, recenter_scores
from facetools.prediction.metrics import metrics_by_attribute


def simulate_faces(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a rare and of a common attribute, and scores whose best thresholds are far from 0.5."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, 2)) < [0.1, 0.6]).astype(np.uint8)
    logits = rng.normal(0, 1, labels.shape) + labels * 2 - [4, -1]
    return labels, (1 / (1 + np.exp(-logits))).astype(np.float32)


@pytest.mark.parametrize(("criterion", "metric"), [("accuracy", "accuracy"), ("balanced", "balanced_accuracy")])
def test_thresholds_are_nearly_optimal_on_other_faces(criterion: str, metric: str) -> None:
    thresholds = choose_thresholds(*simulate_faces(2000, 0), criterion)
    labels, scores = simulate_faces(20_000, 1)
    candidates = np.linspace(0.001, 0.999, 999)
    best = np.max([metrics_by_attribute(labels, scores, threshold)[metric] for threshold in candidates], axis=0)
    recentered = recenter_scores(scores, thresholds)
    assert (metrics_by_attribute(labels, recentered)[metric] > best - 0.01).all()
    assert metrics_by_attribute(labels, scores)["balanced_accuracy"][0] < 0.6, "0.5 would do as well"


def test_threshold_is_a_half_if_a_class_has_no_faces() -> None:
    labels, scores = np.array([[0, 1], [0, 1]], np.uint8), np.array([[0.9, 0.1], [0.2, 0.3]])
    for criterion in THRESHOLD_CRITERIA:
        assert choose_thresholds(labels, scores, criterion).tolist() == [0.5, 0.5]
        assert choose_thresholds(labels[:0], scores[:0], criterion).tolist() == [0.5, 0.5]


def test_threshold_lies_between_separable_classes() -> None:
    labels = np.array([[0], [0], [1], [1]], np.uint8)
    for criterion in THRESHOLD_CRITERIA:
        thresholds = choose_thresholds(labels, np.array([[0.05], [0.1], [0.3], [0.4]]), criterion)
        assert 0.1 < thresholds[0] < 0.3


@given(arrays.arrays(np.float32, (20, 1), elements=st.floats(0, 1, width=32)), st.floats(0.001, 0.999), st.booleans())
def test_recentered_scores_keep_decisions_and_order(scores: np.ndarray, threshold: float, equals_score: bool) -> None:
    if equals_score:
        threshold = float(np.clip(scores[0, 0], 0.001, 0.999))
    recentered = recenter_scores(scores, np.array([threshold]))
    assert recentered.dtype == np.float32 and recentered.min() >= 0 and recentered.max() <= 1
    assert ((recentered >= 0.5) == (scores.astype(float) >= threshold)).all()
    order = np.argsort(scores[:, 0], kind="stable")
    assert (np.diff(recentered[order, 0]) >= 0).all()


def test_threshold_of_a_half_leaves_scores_unchanged() -> None:
    scores = np.linspace(0.01, 0.99, 50, dtype=np.float32)[:, None]
    np.testing.assert_allclose(recenter_scores(scores, np.array([0.5])), scores, rtol=1e-6)
