"""How well scores tell attributes: accuracy and its companions, by attribute and in the mean."""

from __future__ import annotations

import numpy as np

#: The measures of which means are told.
MEASURES = ("accuracy", "balanced_accuracy", "f1", "average_precision")


def metrics_by_attribute(labels: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> dict[str, np.ndarray]:
    """Measures of each attribute, float64 (a,), from `labels` uint8 0/1 (n, a) and `scores` float (n, a), n > 0.

    A face is predicted to have the attribute when its score is at least `threshold`. Keys: `accuracy`; `majority`, the
    accuracy of always giving the more frequent answer; `false_negative_rate` and `false_positive_rate`, the shares
    mispredicted of the faces with and without the attribute; `balanced_accuracy`, the mean of the two classes' shares
    predicted right; `f1`; `average_precision`, the area under precision against recall over all thresholds, as steps.
    Where a class has no faces its rate is 0 by convention and balanced accuracy is the other class's share alone; f1
    and average precision are 0 where nothing is present.
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
    """The means over attributes of `accuracy`, `balanced_accuracy`, `f1` and `average_precision`, and `hamming`.

    `hamming` is the average Hamming distance of a face: its number of mispredicted attributes, 0 to a.
    """
    measures = metrics_by_attribute(labels, scores, threshold)
    mean = {name: float(measures[name].mean()) for name in MEASURES}
    return mean | {"hamming": float((1 - measures["accuracy"]).sum())}


def _average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """The sum over the scores, from the highest, of precision x gain of recall; equal scores are one step."""
    if not truth.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    return float((hits[last] / (last + 1)) @ np.diff(hits[last], prepend=0) / hits[-1])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
