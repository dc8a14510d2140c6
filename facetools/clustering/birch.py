"""BIRCH (Zhang, Ramakrishnan and Livny 1996) of all faces by scikit-learn.

One pass over the faces, in their order, builds a tree of subclusters; these are then merged into k clusters. The result
depends on the order of the faces.
"""

from __future__ import annotations

import warnings

import numpy as np

from facetools.clustering.method import MAX_RADIUS, Method, Parameters
from facetools.clustering.points import Points
from facetools.clustering.vectors import center


class Birch(Method):
    requires_k = True
    parameter_names = ("threshold",)

    def __init__(self, points: Points, parameters: Parameters) -> None:
        from sklearn.cluster import Birch as SklearnBirch

        self._rows, threshold = points.weighted_faces, min(parameters.threshold, MAX_RADIUS)
        if points.packed_codes is None:  # scikit-learn computes in float32
            self._rows, exponent = center(self._rows)
            threshold = float(np.ldexp(threshold, exponent))
        with np.errstate(over="ignore"):  # the square of a large threshold is infinite in float32, which is right
            self._model = SklearnBirch(n_clusters=None, threshold=threshold).fit(self._rows)

    def compute_labels(self, k: int | None) -> np.ndarray:
        from sklearn.exceptions import ConvergenceWarning

        if k == 1:
            return np.zeros(len(self._rows), np.int64)  # scikit-learn cannot merge a single subcluster
        subclusters = len(self._model.subcluster_centers_)
        if k is not None and k > subclusters:
            raise ValueError(f"k is {k}, but BIRCH has only {subclusters} subclusters; lower --birch-threshold")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.set_params(n_clusters=k)
            # Without rows, partial_fit keeps the tree and only merges the subclusters into k clusters.
            return self._model.partial_fit().predict(self._rows)
