"""BIRCH (Zhang, Ramakrishnan and Livny 1996) of all faces by scikit-learn.

One pass over the faces, in their order, builds a tree of subclusters; these are then merged into k clusters. The result
depends on the order of the faces.
"""

from __future__ import annotations

import warnings

import numpy as np

from facetools.clustering.method import Parameters
from facetools.clustering.points import Points


class Birch:
    requires_k = True
    parameter_names = ("threshold",)

    def __init__(self, points: Points, parameters: Parameters) -> None:
        from sklearn.cluster import Birch as SklearnBirch

        self._rows = points.weighted_faces
        self._model = SklearnBirch(n_clusters=None, threshold=parameters.threshold).fit(self._rows)

    def compute_labels(self, k: int | None) -> np.ndarray:
        from sklearn.exceptions import ConvergenceWarning

        if len(self._rows) == 1:
            return np.zeros(1, np.int64)  # scikit-learn cannot merge a single subcluster
        subclusters = len(self._model.subcluster_centers_)
        if k is not None and k > subclusters:
            raise ValueError(f"k is {k}, but BIRCH has only {subclusters} subclusters; lower --birch-threshold")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.set_params(n_clusters=k)
            # Without rows, partial_fit keeps the tree and only merges the subclusters into k clusters.
            return self._model.partial_fit().predict(self._rows)
