"""The measures against scikit-learn, and by hand where a class is missing."""

import numpy as np
import pytest
from sklearn import metrics as reference

from facetools.prediction import metrics


@pytest.mark.parametrize("threshold", [0.5, 0.2])
@pytest.mark.parametrize("faces", [7, 1000])
def test_agrees_with_scikit_learn(faces: int, threshold: float) -> None:
    rng = np.random.default_rng(faces)
    scores = rng.random((faces, 12), dtype=np.float32).round(2)  # some are equal
    labels = (rng.random((faces, 12)) < rng.uniform(0.1, 0.9, 12)).astype(np.uint8)
    labels[:2] = [[0], [1]]
    predicted = scores >= threshold
    measures = metrics.metrics_by_attribute(labels, scores, threshold)
    for column in range(12):
        truth, guess = labels[:, column], predicted[:, column]
        (true_negative, false_positive), (false_negative, true_positive) = reference.confusion_matrix(truth, guess)
        expected = {
            "accuracy": reference.accuracy_score(truth, guess),
            "balanced_accuracy": reference.balanced_accuracy_score(truth, guess),
            "f1": reference.f1_score(truth, guess),
            "average_precision": reference.average_precision_score(truth, scores[:, column]),
            "false_negative_rate": false_negative / (false_negative + true_positive),
            "false_positive_rate": false_positive / (false_positive + true_negative),
            "majority": max(np.mean(truth == 0), np.mean(truth == 1)),
        }
        assert {name: measure[column] for name, measure in measures.items()} == pytest.approx(expected, abs=1e-12)
    means = metrics.mean_metrics(labels, scores, threshold)
    assert means.keys() == {"accuracy", "balanced_accuracy", "f1", "average_precision", "hamming"}
    for name in metrics.MEASURES:
        assert means[name] == pytest.approx(measures[name].mean())
    assert means["hamming"] == pytest.approx((predicted != labels).sum(1).mean())


def test_columns_of_one_class() -> None:
    # Columns: none present, all guessed absent; none present, one of four guessed; all present, one of four missed.
    labels = np.array([[0, 0, 1]] * 4, np.uint8)
    scores = np.array([[0.1, 0.9, 0.4], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    measures = metrics.metrics_by_attribute(labels, scores)
    assert {name: measure.tolist() for name, measure in measures.items()} == {
        "accuracy": [1, 0.75, 0.75],
        "balanced_accuracy": [1, 0.75, 0.75],
        "f1": [0, 0, pytest.approx(6 / 7)],
        "average_precision": [0, 0, 1],
        "false_negative_rate": [0, 0, 0.25],
        "false_positive_rate": [0, 0.25, 0],
        "majority": [1, 1, 1],
    }


def test_a_score_at_the_threshold_counts_as_present() -> None:
    at, under = np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(0))
    labels = np.array([[1, 1]], np.uint8)
    assert metrics.metrics_by_attribute(labels, np.array([[at, under]]))["accuracy"].tolist() == [1, 0]
