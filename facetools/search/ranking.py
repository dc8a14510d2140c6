"""Rankings of faces by a description: from attribute scores to a probability and a key to sort by.

`mixture` ranks by the probability that the whole description holds, from the calibrated Bernoulli mixture of
network/calibration.py, which knows correlations between attributes (compare Siddiquie, Feris and Davis: Image ranking
and retrieval based on multi-attribute queries, CVPR 2011). `log-odds` ranks by the sum of the calibrated log-odds of
the terms. A term that surely holds then makes up for one that surely does not. benchmarks/search.py compares them.

Time is O(n terms classes).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facetools.network.calibration import Calibration
from facetools.search.query import Literal

#: The rankings; the first is the default.
RANKINGS = ("mixture", "log-odds")

#: Probabilities below this count as this in logarithms.
_SMALLEST = 1e-300


class Ranking:
    """The ranking of faces by some `literals`.

    calibration: that of the attributes of the literals, in their order.
    """

    def __init__(self, literals: Sequence[Literal], calibration: Calibration, ranking: str = RANKINGS[0]) -> None:
        if ranking not in RANKINGS:
            raise ValueError(f"the ranking must be {' or '.join(RANKINGS)}, not '{ranking}'")
        self._calibration, self._ranking = calibration, ranking
        self._signs = np.array([1.0 if literal.present else -1.0 for literal in literals])
        self._weights = np.array([literal.weight for literal in literals])

    def rank(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability that all literals hold, and the key to sort by, largest first; float64 (n,) each.

        `scores` are those of the attributes of the literals, (n, literals), 0 to 1. Without weights, the key of
        `mixture` is the logarithm of the probability. A weight w counts as if the term were there w times.
        """
        logits = self._calibration.logits(scores)
        match, weighted = np.zeros(len(scores)), np.zeros(len(scores))
        log_odds = np.zeros(len(scores))
        for share, offsets in zip(self._calibration.weights, self._calibration.offsets, strict=True):
            # Each term is summed alone: sums over the short last axis would depend on the size of the block.
            log_match, log_weighted = np.zeros(len(scores)), np.zeros(len(scores))
            for column, (sign, weight) in enumerate(zip(self._signs, self._weights, strict=True)):
                log_probability = -np.logaddexp(0, -sign * (logits[:, column] + offsets[column]))
                log_match += log_probability
                log_weighted += weight * log_probability
            match += share * np.exp(log_match)
            weighted += share * np.exp(log_weighted)
        if self._ranking == "mixture":
            return match, np.log(np.maximum(weighted, _SMALLEST))
        for column, (sign, weight) in enumerate(zip(self._signs, self._weights, strict=True)):
            log_odds += weight * sign * logits[:, column]
        return match, log_odds


def expected_differences(probabilities: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the sum of |p - q| over the attributes, float64 (n,), for `probabilities` (n, a) and `reference` (a,).

    This is the least expected number of differing attributes. It is 0 only for a face with equal probabilities.
    """
    return np.abs(probabilities - reference).sum(axis=1)
