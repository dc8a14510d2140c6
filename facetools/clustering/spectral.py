"""Spectral clustering (Shi and Malik 2000; von Luxburg 2007) by scikit-learn, on all faces, with its RBF affinity."""

from __future__ import annotations

import numpy as np

from facetools.clustering.forecast import require_memory
from facetools.clustering.method import Parameters
from facetools.clustering.points import Points


class Spectral:
    takes_k = True
    uses = ("seed",)

    def __init__(self, points: Points, parameters: Parameters) -> None:
        needed = 3 * 8 * points.faces**2
        require_memory(needed, f"spectral clustering of {points.faces:,} faces", "take --method kmeans or birch")
        self._rows = points.all_scaled
        self._parameters = parameters

    def labels(self, k: int | None) -> np.ndarray:
        from sklearn.cluster import SpectralClustering

        if k is None or not 1 <= k <= len(self._rows):
            raise ValueError(f"k is {k}; it must be from 1 to {len(self._rows)}, the number of faces")
        method = SpectralClustering(k, random_state=self._parameters.seed, n_jobs=self._parameters.jobs)
        return method.fit(self._rows).labels_
