"""Tests of the metrics: they equal scikit-learn's, and known values where a class has no faces."""

import numpy as np
import pytest
from sklearn import metrics as reference

from facetools.prediction.metrics import MEASURES, mean_metrics, metrics_by_attribute


@pytest.mark.parametrize("threshold", [0.5, 0.2])
@pytest.mark.parametrize("faces", [7, 1000])
def test_metrics_equal_those_of_scikit_learn(faces: int, threshold: float) -> None:
    rng = np.random.default_rng(faces)
    scores = rng.random((faces, 12), dtype=np.float32).round(2)  # rounded, so that some are equal
    labels = (rng.random((faces, 12)) < rng.uniform(0.1, 0.9, 12)).astype(np.uint8)
    labels[:2] = [[0], [1]]
    predicted = scores >= threshold
    metrics = metrics_by_attribute(labels, scores, threshold)
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
        assert {name: values[column] for name, values in metrics.items()} == pytest.approx(expected, abs=1e-12)
    means = mean_metrics(labels, scores, threshold)
    assert means.keys() == {"accuracy", "balanced_accuracy", "f1", "average_precision", "hamming"}
    for name in MEASURES:
        assert means[name] == pytest.approx(metrics[name].mean())
    assert means["hamming"] == pytest.approx((predicted != labels).sum(1).mean())


def test_metrics_of_attributes_with_a_single_class() -> None:
    # Columns: all negative, no errors; all negative, one false positive; all positive, one false negative.
    labels = np.array([[0, 0, 1]] * 4, np.uint8)
    scores = np.array([[0.1, 0.9, 0.4], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    metrics = metrics_by_attribute(labels, scores)
    assert {name: values.tolist() for name, values in metrics.items()} == {
        "accuracy": [1, 0.75, 0.75],
        "balanced_accuracy": [1, 0.75, 0.75],
        "f1": [0, 0, pytest.approx(6 / 7)],
        "average_precision": [0, 0, 1],
        "false_negative_rate": [0, 0, 0.25],
        "false_positive_rate": [0, 0.25, 0],
        "majority": [1, 1, 1],
    }


def test_score_equal_to_the_threshold_counts_as_present() -> None:
    threshold, below = np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(0))
    labels = np.array([[1, 1]], np.uint8)
    assert metrics_by_attribute(labels, np.array([[threshold, below]]))["accuracy"].tolist() == [1, 0]
