"""DBSCAN (Ester et al. 1996) on distinct rows, whose counts weigh towards `min_samples`: exact for all faces."""

from __future__ import annotations

import numpy as np

from facetools.clustering.method import Parameters
from facetools.clustering.points import Points


class DBSCAN:
    takes_k = False
    uses = ("metric", "eps", "min_samples")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        self._points = points
        self._parameters = parameters

    def labels(self, k: int | None) -> np.ndarray:
        from sklearn.cluster import DBSCAN as Reference

        parameters = self._parameters
        method = Reference(
            eps=parameters.eps, min_samples=parameters.min_samples, metric=parameters.metric, n_jobs=parameters.jobs
        )
        return method.fit(self._points.scaled, sample_weight=self._points.counts).labels_
