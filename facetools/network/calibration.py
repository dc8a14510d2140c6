"""Calibration: probabilities of attributes and of whole descriptions from the scores of a network.

The logit of each score is scaled and shifted (Platt: Probabilistic outputs for support vector machines, 1999). The
attributes of a face are not independent given its scores: a mustache that the network misses goes with a goatee that it
misses. So a hidden class c of each face, with probability w_c, shifts all logits by o_c, and the attributes are
independent given the class:

    P(x | scores) = sum over c of w_c  product over a of sigmoid(+-(slope_a logit(score_a) + intercept_a + o_ca))

with + for attributes that are present in x. It is a Bernoulli mixture whose probabilities depend on the scores.
`fit_calibration` fits all parameters to held-out faces: slopes and intercepts by Newton's method, then all parameters
by EM. Gaussian priors keep parameters near those that change nothing, so that few faces do no harm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Classes of the mixture, and the iterations of EM.
CLASSES, ITERATIONS = 4, 60

#: Inverse variances of the priors: of slopes around 1 and intercepts around 0, and of offsets around 0. They are chosen
#: by cross-validation on the validation faces of the starter model.
_PLATT_PRIOR, _OFFSET_PRIOR = 200.0, 5.0

#: Scores are clipped to this distance from 0 and 1, so that logits are finite.
_MARGIN = 1e-7

_KEYS = ("slope", "intercept", "weights", "offsets")


@dataclass(frozen=True)
class Calibration:
    """The parameters for a attributes and k classes.

    slope, intercept: float64 (a,). weights: float64 (k,), with sum 1. offsets: float64 (k, a).
    """

    slope: np.ndarray
    intercept: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray

    @classmethod
    def identity(cls, attributes: int) -> Calibration:
        """The calibration that takes scores for probabilities of independent attributes."""
        return cls(np.ones(attributes), np.zeros(attributes), np.ones(1), np.zeros((1, attributes)))

    @classmethod
    def from_entry(cls, entry: Any, attributes: int) -> Calibration:
        """Return the calibration in an entry of a checkpoint, as `to_entry` makes it. Raises ValueError if it is not
        valid for this number of attributes."""
        if not isinstance(entry, dict) or any(not isinstance(entry.get(key), list) for key in _KEYS):
            raise ValueError(f"its calibration is not {', '.join(_KEYS)}")
        try:
            slope, intercept, weights, offsets = (np.array(entry[key], np.float64) for key in _KEYS)
        except (TypeError, ValueError):
            raise ValueError("its calibration has values that are not numbers") from None
        shapes = (slope.shape, intercept.shape, offsets.shape)
        if weights.ndim != 1 or shapes != ((attributes,), (attributes,), (len(weights), attributes)):
            raise ValueError("its calibration does not fit its attributes")
        is_finite = all(np.isfinite(values).all() for values in (slope, intercept, weights, offsets))
        if not is_finite or (weights < 0).any() or not math.isclose(weights.sum(), 1, abs_tol=1e-5):
            raise ValueError("its calibration has impossible values")
        return cls(slope, intercept, weights, offsets)

    def to_entry(self) -> dict[str, list[Any]]:
        """Return the parameters as plain lists, for a checkpoint."""
        return {key: getattr(self, key).tolist() for key in _KEYS}

    def select(self, columns: list[int]) -> Calibration:
        """Return the calibration of some attributes, by their numbers."""
        return Calibration(self.slope[columns], self.intercept[columns], self.weights, self.offsets[:, columns])

    def logits(self, scores: np.ndarray) -> np.ndarray:
        """Return the shifted and scaled logits, float64 (n, a), of `scores` (n, a)."""
        return self.slope * _logit(scores) + self.intercept

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Return the probability that each attribute is present, float64 (n, a), for `scores` (n, a)."""
        logits = self.logits(scores)
        result = np.zeros_like(logits)
        for weight, offsets in zip(self.weights, self.offsets, strict=True):
            result += weight * _sigmoid(logits + offsets)
        return result


def fit_calibration(labels: np.ndarray, scores: np.ndarray) -> Calibration:
    """Fit a calibration to held-out faces: `labels` 0/1 and `scores`, both (n, a). Without faces, it changes nothing.

    Time O(ITERATIONS n a CLASSES), memory O(n a CLASSES).
    """
    attributes = labels.shape[1]
    if not len(labels):
        return Calibration.identity(attributes)
    logits = _logit(scores)
    pairs = [_fit_platt(logits[:, column], labels[:, column] != 0) for column in range(attributes)]
    slope, intercept = np.array(pairs).T
    return _fit_classes(logits, labels != 0, slope, intercept)


def _fit_platt(logits: np.ndarray, present: np.ndarray) -> tuple[float, float]:
    """The slope and intercept of largest posterior density for one attribute."""
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    start = parameters = np.array([1.0, 0.0])

    def objective(values: np.ndarray) -> float:
        shifted = design @ values
        likelihood = np.logaddexp(0, np.where(present, -shifted, shifted)).sum()
        return float(likelihood + _PLATT_PRIOR / 2 * ((values - start) ** 2).sum())

    for _ in range(50):
        probabilities = _sigmoid(design @ parameters)
        gradient = design.T @ (probabilities - present) + _PLATT_PRIOR * (parameters - start)
        curvature = (design.T * (probabilities * (1 - probabilities))) @ design + _PLATT_PRIOR * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while objective(parameters - step) > objective(parameters) and np.abs(step).max() > 1e-10:
            step = step / 2
        parameters = parameters - step
        if np.abs(step).max() < 1e-9:
            break
    return float(parameters[0]), float(parameters[1])


def _fit_classes(logits: np.ndarray, present: np.ndarray, slope: np.ndarray, intercept: np.ndarray) -> Calibration:
    """Fit all parameters by EM from those of Platt scaling and small random offsets.

    The offsets of the classes spread the probabilities of a face, so that slopes grow. Each M-step takes one step of
    Newton's method for the offsets, then one for slopes and intercepts.
    """
    faces, attributes = logits.shape
    offsets = np.random.default_rng(0).normal(0, 0.3, (CLASSES, attributes))
    weights = np.full(CLASSES, 1 / CLASSES)
    signs = np.where(present, 1.0, -1.0)
    for _ in range(ITERATIONS):
        shifted = slope * logits + intercept
        logs = np.stack([-np.logaddexp(0, -signs * (shifted + row)).sum(axis=1) for row in offsets], axis=1)
        logs += np.log(weights)
        posteriors = np.exp(logs - logs.max(axis=1, keepdims=True))
        posteriors /= posteriors.sum(axis=1, keepdims=True)
        weights = (posteriors.sum(axis=0) + 1) / (faces + CLASSES)
        for number in range(CLASSES):
            residuals, variances = _residuals(shifted + offsets[number], present, posteriors[:, number])
            gradient = residuals.sum(axis=0) - _OFFSET_PRIOR * offsets[number]
            offsets[number] += gradient / (variances.sum(axis=0) + _OFFSET_PRIOR)
        slope, intercept = _step_platt(logits, present, slope, intercept, posteriors, offsets)
    return Calibration(slope, intercept, weights, offsets)


def _step_platt(
    logits: np.ndarray,
    present: np.ndarray,
    slope: np.ndarray,
    intercept: np.ndarray,
    posteriors: np.ndarray,
    offsets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """One step of Newton's method for the slopes and intercepts (a,) of all attributes."""
    residuals, variances = np.zeros(logits.shape), np.zeros(logits.shape)
    for share, row in zip(posteriors.T, offsets, strict=True):
        more_residuals, more_variances = _residuals(slope * logits + intercept + row, present, share)
        residuals += more_residuals
        variances += more_variances
    slope_gradient = (residuals * logits).sum(axis=0) - _PLATT_PRIOR * (slope - 1)
    intercept_gradient = residuals.sum(axis=0) - _PLATT_PRIOR * intercept
    a = (variances * logits**2).sum(axis=0) + _PLATT_PRIOR
    b = (variances * logits).sum(axis=0)
    c = variances.sum(axis=0) + _PLATT_PRIOR
    determinant = a * c - b * b
    slope_step = (c * slope_gradient - b * intercept_gradient) / determinant
    intercept_step = (a * intercept_gradient - b * slope_gradient) / determinant
    return slope + slope_step, intercept + intercept_step


def _residuals(logits: np.ndarray, present: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals and variances (n, a) of faces that belong to a class with probability `share` (n,)."""
    probabilities = _sigmoid(logits)
    return share[:, None] * (present - probabilities), share[:, None] * probabilities * (1 - probabilities)


def _logit(scores: np.ndarray) -> np.ndarray:
    clipped = np.clip(scores.astype(np.float64), _MARGIN, 1 - _MARGIN)
    return np.log(clipped) - np.log1p(-clipped)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * values))
