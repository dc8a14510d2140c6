"""Metrics of predicted attributes: accuracy, balanced accuracy, F1, average precision and error rates.

`metrics_by_attribute` gives them per attribute, `mean_metrics` averages them over attributes.
"""

from __future__ import annotations

import numpy as np

#: The metrics that `mean_metrics` averages.
MEASURES = ("accuracy", "balanced_accuracy", "f1", "average_precision")

#: Bins of scores in `calibration_error`, as in Guo et al. 2017.
CALIBRATION_BINS = 15


def metrics_by_attribute(labels: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> dict[str, np.ndarray]:
    """Metrics per attribute, float64 (a,), from `labels` uint8 0/1 (n, a) and `scores` float (n, a), n > 0.

    A face is predicted to have the attribute if its score is at least `threshold`. Keys:

    accuracy: share of correct predictions.
    balanced_accuracy: mean of the two classes' recalls; if a class has no faces, the recall of the other.
    f1: harmonic mean of precision and recall; 0 if no face has the attribute.
    average_precision: area under the precision-recall curve over all thresholds, as a step function; 0 if no face has
        the attribute.
    false_negative_rate, false_positive_rate: share of wrong predictions among the faces with and without the
        attribute; 0 if there are none.
    majority: accuracy of the majority-class baseline.
    """
    truth = labels.astype(bool)
    predicted = scores >= threshold
    true_positive = (truth & predicted).sum(0).astype(np.float64)
    false_positive = (~truth & predicted).sum(0).astype(np.float64)
    positive = truth.sum(0).astype(np.float64)
    faces = float(len(truth))
    negative = faces - positive
    false_negative_rate = _ratio(positive - true_positive, positive)
    false_positive_rate = _ratio(false_positive, negative)
    balanced = 1 - (false_negative_rate + false_positive_rate) / 2
    one_class = (positive == 0) | (negative == 0)
    return {
        "accuracy": (true_positive + negative - false_positive) / faces,
        "balanced_accuracy": np.where(one_class, 1 - false_negative_rate - false_positive_rate, balanced),
        "f1": _ratio(2 * true_positive, positive + true_positive + false_positive),
        "average_precision": np.array([_average_precision(truth[:, a], scores[:, a]) for a in range(truth.shape[1])]),
        "false_negative_rate": false_negative_rate,
        "false_positive_rate": false_positive_rate,
        "majority": np.maximum(positive, negative) / faces,
    }


def mean_metrics(labels: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """The means over attributes of MEASURES, and `hamming`.

    `hamming` is the mean Hamming distance per face: the number of wrongly predicted attributes, 0 to a.
    """
    metrics = metrics_by_attribute(labels, scores, threshold)
    means = {name: float(metrics[name].mean()) for name in MEASURES}
    return means | {"hamming": float((1 - metrics["accuracy"]).sum())}


def calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """The expected calibration error, 0 to 1, of `labels` uint8 0/1 and `scores` (n, a), averaged over attributes.

    The scores of an attribute are grouped into CALIBRATION_BINS bins of equal width from 0 to 1. Its error is the mean
    over faces of |share of faces with the attribute - mean score| of the bin of each face (Guo, Pleiss, Sun and
    Weinberger: On calibration of modern neural networks, ICML 2017, for one attribute as a binary classifier).
    """
    bins = np.clip((scores * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)
    errors = []
    for attribute in range(labels.shape[1]):
        differences = labels[:, attribute].astype(np.float64) - scores[:, attribute]
        sums = np.bincount(bins[:, attribute], differences, CALIBRATION_BINS)
        errors.append(np.abs(sums).sum() / len(labels))
    return float(np.mean(errors))


def _average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """The sum of precision x increase of recall over the distinct scores, in descending order."""
    if not truth.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    return float((hits[last] / (last + 1)) @ np.diff(hits[last], prepend=0) / hits[-1])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
