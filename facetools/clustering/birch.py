"""BIRCH (Zhang et al. 1996) by scikit-learn, on all faces: one pass in their order, memory for its subclusters only."""

from __future__ import annotations

import warnings

import numpy as np

from facetools.clustering.method import Parameters
from facetools.clustering.points import Points


class Birch:
    takes_k = True
    uses = ("threshold",)

    def __init__(self, points: Points, parameters: Parameters) -> None:
        from sklearn.cluster import Birch as Reference

        self._tree = Reference(n_clusters=None, threshold=parameters.threshold).fit(points.all_scaled)
        self._rows = points.all_scaled

    def labels(self, k: int | None) -> np.ndarray:
        from sklearn.exceptions import ConvergenceWarning

        if len(self._rows) == 1:
            return np.zeros(1, np.int64)  # of which scikit-learn makes no tree
        found = len(self._tree.subcluster_centers_)
        if k is not None and k > found:
            raise ValueError(f"k is {k}, but BIRCH makes {found} subclusters only; lower --birch-threshold")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._tree.set_params(n_clusters=k)
            # Without rows partial_fit does the last, global step alone.
            return self._tree.partial_fit().predict(self._rows)
