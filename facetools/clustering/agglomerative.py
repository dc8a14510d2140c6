"""Agglomerative clustering: the whole tree once, then labels for any k by cutting it."""

from __future__ import annotations

import numpy as np

from facetools.clustering.method import METRIC_ALIASES, Parameters, require_memory
from facetools.clustering.points import Points

_SCIPY_METRICS = {"euclidean": "euclidean", "manhattan": "cityblock", "cosine": "cosine"}


class Agglomerative:
    """SciPy's linkage, which scikit-learn's AgglomerativeClustering is made of.

    Complete and single linkage do not change when a row is repeated, so they work on distinct rows; ward and average
    see all faces. Memory: 8 bytes for each pair of rows, twice.
    """

    takes_k = True
    uses = ("linkage", "metric")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import pdist

        self._points = points
        self._repeats = parameters.linkage in ("ward", "average")
        rows = points.all_scaled if self._repeats else points.scaled
        pairs = len(rows) * (len(rows) - 1) // 2
        require_memory(
            2 * 8 * pairs, f"agglomerative clustering of {len(rows):,} rows", "take --method kmeans or birch"
        )
        metric = METRIC_ALIASES.get(parameters.metric, parameters.metric)
        if metric == "cosine" and not rows.any(axis=1).all():
            raise ValueError("the cosine metric is not defined for a face without any of the attributes")
        self._count = len(rows)
        distances = pdist(rows.astype(np.float64), _SCIPY_METRICS[metric])
        self._tree = linkage(distances, parameters.linkage) if self._count > 1 else np.empty((0, 4))

    def labels(self, k: int | None) -> np.ndarray:
        assert k is not None
        if not 1 <= k <= self._count:
            raise ValueError(f"k is {k}; it must be from 1 to {self._count}, the number of rows")
        return cut(self._tree, k)


def cut(tree: np.ndarray, k: int) -> np.ndarray:
    """Labels, int64 (n,), of the k clusters that SciPy's linkage matrix `tree` (n - 1, 4) has before its last k - 1
    merges."""
    count = len(tree) + 1
    parent = np.arange(count + len(tree))
    for node, (left, right) in enumerate(tree[: count - k, :2].astype(np.int64), start=count):
        parent[left] = parent[right] = node
    while not np.array_equal(parent, above := parent[parent]):
        parent = above
    return np.unique(parent[:count], return_inverse=True)[1]
