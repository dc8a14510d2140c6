"""Tests of the calibration: it recovers shifted probabilities and correlations, and little data changes little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facetools.network.calibration import Calibration, fit_calibration
from facetools.network.checkpoint import STARTER_MODEL, CheckpointError, parse_entries, read_entries
from facetools.prediction.metrics import calibration_error


def simulate(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of three attributes, and overconfident scores. What is missed of the first two is missed of both."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, 3))
    hidden = rng.choice([-2.0, 2.0], count)[:, None] * [1, 1, 0]
    labels = rng.random(logits.shape) < 1 / (1 + np.exp(-logits - hidden))
    return labels.astype(np.uint8), (1 / (1 + np.exp(-2 * logits - 1))).astype(np.float32)


def test_calibration_lowers_the_error_on_other_faces() -> None:
    calibration = fit_calibration(*simulate(20_000, 0))
    labels, scores = simulate(20_000, 1)
    assert calibration_error(labels, scores) > 0.1
    assert calibration_error(labels, calibration.probabilities(scores)) < 0.025


def test_classes_know_that_attributes_go_together() -> None:
    calibration = fit_calibration(*simulate(20_000, 0))
    labels, scores = simulate(20_000, 1)
    logits = calibration.logits(scores)
    p = 1 / (1 + np.exp(-logits[:, None] - calibration.offsets))
    joint = ((p[:, :, 0] * p[:, :, 1]) @ calibration.weights).mean()
    actual = (labels[:, 0] & labels[:, 1]).mean()
    independent = calibration.probabilities(scores)[:, :2].prod(axis=1).mean()
    assert abs(joint - actual) < 0.3 * abs(independent - actual)


def test_no_faces_change_nothing() -> None:
    labels, scores = simulate(20, 0)
    np.testing.assert_allclose(fit_calibration(labels[:0], scores[:0]).probabilities(scores), scores, atol=1e-6)
    ones = fit_calibration(np.ones((3, 1), np.uint8), np.full((3, 1), 0.5)).probabilities(np.array([[0.5]]))
    assert 0.5 < ones[0, 0] < 0.75


def test_entry_restores_the_calibration() -> None:
    calibration = fit_calibration(*simulate(100, 0))
    restored = Calibration.from_entry(calibration.to_entry(), 3)
    scores = simulate(10, 1)[1]
    assert np.array_equal(restored.probabilities(scores), calibration.probabilities(scores))
    selected = calibration.select([2, 0]).probabilities(scores[:, [2, 0]])
    assert np.array_equal(selected, calibration.probabilities(scores)[:, [2, 0]])


@pytest.mark.parametrize(
    "change",
    [
        {"slope": [1.0]},
        {"slope": None},
        {"weights": []},
        {"weights": [2.0]},
        {"weights": [-1.0, 2.0]},
        {"intercept": [0.0, float("nan")]},
        {"offsets": [[0.0], [0.0, 1.0]]},
        {"offsets": [["a", "b"]]},
    ],
)
def test_invalid_entries_are_refused(change: dict[str, Any]) -> None:
    entry = Calibration.identity(2).to_entry()
    Calibration.from_entry(entry, 2)
    with pytest.raises(ValueError, match="its calibration"):
        Calibration.from_entry(entry | change, 2)


def test_the_starter_model_has_a_calibration_and_a_damaged_one_is_refused() -> None:
    entries = read_entries(STARTER_MODEL)
    parse_entries(STARTER_MODEL, entries)
    Calibration.from_entry(entries["calibration"], 37)
    with pytest.raises(CheckpointError, match="its calibration"):
        parse_entries(Path("x.pt"), entries | {"calibration": {"slope": 1}})


def test_calibration_error_by_definition() -> None:
    labels = np.array([[1], [0], [1], [1]], np.uint8)
    scores = np.array([[0.95], [0.95], [0.5], [1.0]])
    assert calibration_error(labels, scores) == pytest.approx((abs(2 - 2.9) + 0.5) / 4)
    assert calibration_error(labels, labels.astype(float)) == 0
