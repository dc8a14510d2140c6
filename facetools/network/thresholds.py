"""Decision thresholds per attribute: chosen on held-out faces, then built into the scores so that 0.5 decides.

`choose_thresholds` maximizes accuracy or balanced accuracy. `recenter_scores` moves scores so that each threshold
becomes 0.5.
"""

from __future__ import annotations

import numpy as np

#: What thresholds can maximize. `balanced` is the balanced accuracy: the mean of the two classes' recalls.
THRESHOLD_CRITERIA = ("accuracy", "balanced")

# Candidate thresholds are logits on a grid from -_LIMIT to _LIMIT. Logits are smoothed by a Gaussian with standard
# deviation _BLUR, so that a threshold does not depend on a handful of faces with a rare attribute.
_STEP, _LIMIT, _BLUR = 0.05, 10.0, 0.3


def choose_thresholds(labels: np.ndarray, scores: np.ndarray, criterion: str) -> np.ndarray:
    """The thresholds, float64 (a,), 0 to 1, that maximize `criterion` on `labels` uint8 0/1 and `scores`, both (n, a).

    Of equally good thresholds it takes the one nearest to 0.5, and 0.5 if all faces belong to one class.
    Time O(n a), memory O(n a).
    """
    edges = np.arange(-_LIMIT, _LIMIT + _STEP, _STEP)
    kernel = np.exp(-0.5 * (np.arange(-4 * _BLUR, 4 * _BLUR + _STEP, _STEP) / _BLUR) ** 2)
    logits = np.clip(_logit(scores), -_LIMIT, _LIMIT - _STEP)
    thresholds = np.full(labels.shape[1], 0.5)
    for attribute in range(labels.shape[1]):
        positive = labels[:, attribute] != 0
        prevalence = positive.mean() if len(positive) else 0.0
        if not 0 < prevalence < 1:
            continue
        histograms = [np.histogram(logits[faces, attribute], edges)[0] for faces in (positive, ~positive)]
        true_positive_rate, false_positive_rate = (
            _share_above(np.convolve(counts, kernel, "full"), len(kernel), len(edges)) for counts in histograms
        )
        weight = prevalence if criterion == "accuracy" else 0.5
        gain = np.round(weight * true_positive_rate - (1 - weight) * false_positive_rate, 12)
        best = np.flatnonzero(gain == gain.max())
        thresholds[attribute] = 1 / (1 + np.exp(-edges[best[np.argmin(np.abs(edges[best]))]]))
    return thresholds


def _share_above(smoothed: np.ndarray, kernel_width: int, edges: int) -> np.ndarray:
    """The share of a class above each of `edges` edges, from its histogram convolved with the smoothing kernel."""
    above = np.append(np.cumsum(smoothed[::-1])[::-1], 0.0) / smoothed.sum()
    return above[kernel_width // 2 :][:edges]


def recenter_scores(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """`scores` float32 (n, a) shifted in logits so that each of `thresholds` (a,) becomes 0.5; float32 (n, a).

    The order of an attribute's scores is preserved. A score is at least its threshold exactly if the result is at least
    0.5.
    """
    shifted = (1 / (1 + np.exp(_logit(thresholds) - _logit(scores)))).astype(np.float32)
    # Rounding must not move a score across 0.5.
    half = np.float32(0.5)
    below = scores.astype(np.float64) < thresholds
    return np.where(below, np.minimum(shifted, np.nextafter(half, np.float32(0))), np.maximum(shifted, half))


def _logit(scores: np.ndarray) -> np.ndarray:
    clipped = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
    return np.log(clipped) - np.log1p(-clipped)
