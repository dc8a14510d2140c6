"""Decision thresholds of attributes: chosen on validation faces, then worked into the scores, of which 0.5 decides."""

from __future__ import annotations

import numpy as np

#: What thresholds can be chosen for: accuracy, or balanced accuracy, the mean of the shares of both classes told right.
THRESHOLD_CRITERIA = ("accuracy", "balanced")


# Logits are looked at in steps of 0.05 and blurred by 0.3, lest a few validation faces of a rare attribute decide.
_STEP, _LIMIT, _BLUR = 0.05, 10.0, 0.3


def choose_thresholds(labels: np.ndarray, scores: np.ndarray, aim: str) -> np.ndarray:
    """The thresholds, float64 (a,) of 0 to 1, that serve `aim` best on `labels` uint8 0/1 and `scores`, both (n, a).

    Of equally good ones the nearest to 0.5; 0.5 where one class has no faces.
    """
    edges = np.arange(-_LIMIT, _LIMIT + _STEP, _STEP)
    blur = np.exp(-0.5 * (np.arange(-4 * _BLUR, 4 * _BLUR + _STEP, _STEP) / _BLUR) ** 2)
    logits = np.clip(_logit(scores), -_LIMIT, _LIMIT - _STEP)
    chosen = np.full(labels.shape[1], 0.5)
    for attribute in range(labels.shape[1]):
        present = labels[:, attribute] != 0
        share = present.mean() if len(present) else 0.0
        if not 0 < share < 1:
            continue
        density = [np.histogram(logits[side, attribute], edges)[0] for side in (present, ~present)]
        # The share of each class that lies over an edge, were each face blurred.
        hits, false_alarms = (_over(np.convolve(counts, blur, "full"), len(blur), len(edges)) for counts in density)
        weight = share if aim == "accuracy" else 0.5
        gain = np.round(weight * hits - (1 - weight) * false_alarms, 12)
        best = np.flatnonzero(gain == gain.max())
        chosen[attribute] = 1 / (1 + np.exp(-edges[best[np.argmin(np.abs(edges[best]))]]))
    return chosen


def _over(blurred: np.ndarray, width: int, edges: int) -> np.ndarray:
    above = np.append(np.cumsum(blurred[::-1])[::-1], 0.0) / blurred.sum()
    return above[width // 2 :][:edges]


def recenter_scores(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """`scores` float32 (n, a) moved along the logistic curve so that `thresholds` (a,) come to lie at 0.5, float32.

    The order of the scores of an attribute stays, and a score of at least its threshold becomes at least 0.5.
    """
    moved = (1 / (1 + np.exp(_logit(thresholds) - _logit(scores)))).astype(np.float32)
    # Rounding must not decide.
    half = np.float32(0.5)
    below = scores.astype(np.float64) < thresholds
    return np.where(below, np.minimum(moved, np.nextafter(half, np.float32(0))), np.maximum(moved, half))


def _logit(scores: np.ndarray) -> np.ndarray:
    kept = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
    return np.log(kept) - np.log1p(-kept)
