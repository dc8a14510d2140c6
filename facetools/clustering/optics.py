"""OPTICS (Ankerst et al. 1999) by scikit-learn, on all faces."""

from __future__ import annotations

import numpy as np

from facetools.clustering.method import Parameters
from facetools.clustering.points import Points


class OPTICS:
    takes_k = False
    uses = ("metric", "min_samples")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        self._points = points
        self._parameters = parameters

    def labels(self, k: int | None) -> np.ndarray:
        from sklearn.cluster import OPTICS as Reference

        parameters = self._parameters
        if parameters.min_samples > self._points.faces:
            return np.full(self._points.faces, -1)
        method = Reference(min_samples=max(parameters.min_samples, 2), metric=parameters.metric, n_jobs=parameters.jobs)
        # Equal faces reach one another at distance 0, by which its steepness divides.
        with np.errstate(divide="ignore", invalid="ignore"):
            return method.fit(self._points.all_scaled).labels_
