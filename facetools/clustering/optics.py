"""OPTICS (Ankerst et al. 1999) of all faces by scikit-learn. It determines the number of clusters."""

from __future__ import annotations

import numpy as np

from facetools.clustering.method import Parameters
from facetools.clustering.points import Points


class OPTICS:
    requires_k = False
    parameter_names = ("metric", "min_samples")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        self._points = points
        self._parameters = parameters

    def compute_labels(self, k: int | None) -> np.ndarray:
        from sklearn.cluster import OPTICS as SklearnOPTICS

        parameters = self._parameters
        if parameters.min_samples > self._points.faces:
            return np.full(self._points.faces, -1)  # no core samples; scikit-learn raises an error
        model = SklearnOPTICS(
            min_samples=max(parameters.min_samples, 2), metric=parameters.metric, n_jobs=parameters.jobs
        )
        # scikit-learn divides by reachability distances, which are 0 between equal faces.
        with np.errstate(divide="ignore", invalid="ignore"):
            return model.fit(self._points.weighted_faces).labels_
