"""Spectral clustering (Shi and Malik 2000; von Luxburg 2007) of all faces by scikit-learn, with its RBF affinity.

Memory: O(n^2) for n faces.
"""

from __future__ import annotations

import warnings

import numpy as np

from facetools.clustering.forecast import require_memory
from facetools.clustering.method import Method, Parameters
from facetools.clustering.points import Points

#: float64 matrices of shape (n, n) that scikit-learn holds at the same time.
MATRICES = 3


class Spectral(Method):
    requires_k = True
    parameter_names = ("seed",)

    @classmethod
    def check_parameters(cls, parameters: Parameters) -> None:
        super().check_parameters(parameters)
        if parameters.seed >= 2**32:
            raise ValueError(f"seed is {parameters.seed}; spectral clustering takes seeds below 2^32")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        task = f"spectral clustering of {points.faces:,} faces"
        require_memory(MATRICES * 8 * points.faces**2, task, "use --method kmeans or --method birch")
        self._rows = points.weighted_faces
        self._parameters = parameters

    def compute_labels(self, k: int | None) -> np.ndarray:
        from sklearn.cluster import SpectralClustering

        assert k is not None
        # scikit-learn needs more faces than clusters, and at least two.
        if k == 1:
            return np.zeros(len(self._rows), np.int64)
        if k == len(self._rows):
            return np.arange(k)
        model = SpectralClustering(k, random_state=self._parameters.seed, n_jobs=self._parameters.jobs)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Graph is not fully connected")
            try:
                return model.fit(self._rows).labels_
            except UserWarning:
                raise ValueError(
                    "spectral clustering needs closer faces: some are so far from all others that their affinity is 0; "
                    "use --method kmeans"
                ) from None
