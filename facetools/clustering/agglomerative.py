"""Agglomerative clustering: the whole tree once, then labels for any k by cutting it."""

from __future__ import annotations

import numpy as np

from facetools.clustering import codes
from facetools.clustering.forecast import require_memory
from facetools.clustering.method import METRIC_ALIASES, Parameters
from facetools.clustering.points import Points

_SCIPY_METRICS = {"euclidean": "euclidean", "manhattan": "cityblock", "cosine": "cosine"}

#: What the core computes on bits, by linkage and metric; SciPy does the rest.
_ON_CORE = {
    ("ward", "euclidean"),
    ("average", "manhattan"),
    ("complete", "euclidean"),
    ("complete", "manhattan"),
    ("single", "euclidean"),
    ("single", "manhattan"),
}


class Agglomerative:
    """The tree of distinct rows with counts by the compiled core, where rows are bits and it has linkage and metric;
    else SciPy's, of which scikit-learn's AgglomerativeClustering is made."""

    takes_k = True
    uses = ("linkage", "metric")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        linkage, metric = parameters.linkage, METRIC_ALIASES.get(parameters.metric, parameters.metric)
        if parameters.engine == "auto" and points.packed is not None and (linkage, metric) in _ON_CORE:
            self._tree = _core_tree(points, linkage, metric, parameters)
        else:
            self._tree = _scipy_tree(points, linkage, metric)

    def labels(self, k: int | None) -> np.ndarray:
        assert k is not None
        count = len(self._tree) + 1
        if not 1 <= k <= count:
            raise ValueError(f"k is {k}; it must be from 1 to {count}, the number of rows in the tree")
        return codes.cut(self._tree, k)


def _core_tree(points: Points, linkage: str, metric: str, parameters: Parameters) -> np.ndarray:
    packed, size, attributes = points.packed, len(points.counts), points.rows.shape[1]
    assert packed is not None
    weights = points.weights if (points.weights != 1).any() else None

    def tree(rows: slice, progress: codes.Progress | None) -> np.ndarray:
        return codes.linkage(
            packed[rows],
            points.counts[rows],
            linkage,
            attributes=attributes,
            metric=metric,
            weights=weights,
            threads=parameters.jobs,
            progress=progress,
        )

    return parameters.watch.run(
        f"{linkage} linkage of {size:,} distinct codes",
        tree,
        size,
        sample=8192,
        power=2,
        needed=codes.linkage_bytes(linkage, size, attributes, weighted=weights is not None),
        instead="take --linkage ward",
    )


def _scipy_tree(points: Points, linkage: str, metric: str) -> np.ndarray:
    """SciPy's tree. Complete and single linkage do not change when a row is repeated, so they see distinct rows; ward
    and average see all faces. Memory: 8 bytes for each pair of rows, twice."""
    from scipy.cluster.hierarchy import linkage as scipy_linkage
    from scipy.spatial.distance import pdist

    rows = points.all_scaled if linkage in ("ward", "average") else points.scaled
    pairs = len(rows) * (len(rows) - 1) // 2
    require_memory(2 * 8 * pairs, f"{linkage} linkage of {len(rows):,} rows", "take --method kmeans")
    if metric == "cosine" and not rows.any(axis=1).all():
        raise ValueError("the cosine metric is not defined for a face without any of the attributes")
    if len(rows) == 1:
        return np.empty((0, 4))
    return scipy_linkage(pdist(rows.astype(np.float64), _SCIPY_METRICS[metric]), linkage)
