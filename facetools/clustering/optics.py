"""OPTICS (Ankerst et al. 1999) of all faces by scikit-learn. It determines the number of clusters."""

from __future__ import annotations

import numpy as np

from facetools.clustering.method import METRIC_ALIASES, Method, Parameters
from facetools.clustering.points import Points


class OPTICS(Method):
    requires_k = False
    parameter_names = ("metric", "min_samples")

    @classmethod
    def check_parameters(cls, parameters: Parameters) -> None:
        super().check_parameters(parameters)
        if parameters.min_samples < 2:
            raise ValueError("OPTICS needs min_samples of at least 2")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        self._points = points
        self._parameters = parameters

    def compute_labels(self, k: int | None) -> np.ndarray:
        from sklearn.cluster import OPTICS as SklearnOPTICS

        parameters = self._parameters
        if parameters.min_samples > self._points.faces:
            return np.full(self._points.faces, -1)  # no core samples; scikit-learn raises an error
        metric = METRIC_ALIASES.get(parameters.metric, parameters.metric)
        rows, _ = self._points.rows_for(metric)
        model = SklearnOPTICS(min_samples=parameters.min_samples, metric=metric, n_jobs=parameters.jobs)
        # scikit-learn divides by reachability distances, which are 0 between equal faces.
        with np.errstate(divide="ignore", invalid="ignore"):
            return model.fit(rows[self._points.inverse]).labels_
