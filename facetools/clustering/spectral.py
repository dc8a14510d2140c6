"""Spectral clustering (Shi and Malik 2000; von Luxburg 2007) of all faces by scikit-learn, with its RBF affinity.

Memory: O(n^2) for n faces.
"""

from __future__ import annotations

import numpy as np

from facetools.clustering.forecast import require_memory
from facetools.clustering.method import Parameters
from facetools.clustering.points import Points

#: float64 matrices of shape (n, n) that scikit-learn holds at the same time.
MATRICES = 3


class Spectral:
    requires_k = True
    parameter_names = ("seed",)

    def __init__(self, points: Points, parameters: Parameters) -> None:
        task = f"spectral clustering of {points.faces:,} faces"
        require_memory(MATRICES * 8 * points.faces**2, task, "use --method kmeans or --method birch")
        self._rows = points.weighted_faces
        self._parameters = parameters

    def compute_labels(self, k: int | None) -> np.ndarray:
        from sklearn.cluster import SpectralClustering

        if k is None or not 1 <= k <= len(self._rows):
            raise ValueError(f"k is {k}; it must be from 1 to {len(self._rows)}, the number of faces")
        model = SpectralClustering(k, random_state=self._parameters.seed, n_jobs=self._parameters.jobs)
        return model.fit(self._rows).labels_
