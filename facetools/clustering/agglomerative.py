"""Agglomerative clustering: build the whole tree once, then cut it for any number of clusters.

0/1 attributes with a linkage and metric of CORE_LINKAGES run in the compiled core, on d distinct codes with counts.
This usually takes O(d^2) time; it takes O(d) memory, or O(d^2) for complete linkage. All else runs in SciPy, which
scikit-learn's AgglomerativeClustering also uses, with O(n^2) time and memory.
"""

from __future__ import annotations

import numpy as np

from facetools.clustering import codes
from facetools.clustering.forecast import require_memory
from facetools.clustering.method import METRIC_ALIASES, Method, Parameters
from facetools.clustering.points import Points

#: Pairs of linkage and metric that the compiled core supports.
CORE_LINKAGES = {
    ("ward", "euclidean"),
    ("average", "manhattan"),
    ("complete", "euclidean"),
    ("complete", "manhattan"),
    ("single", "euclidean"),
    ("single", "manhattan"),
}

_SCIPY_METRICS = {"euclidean": "euclidean", "manhattan": "cityblock", "cosine": "cosine"}


class Agglomerative(Method):
    requires_k = True
    parameter_names = ("linkage", "metric")

    @classmethod
    def check_parameters(cls, parameters: Parameters) -> None:
        super().check_parameters(parameters)
        if parameters.linkage == "ward" and METRIC_ALIASES.get(parameters.metric, parameters.metric) != "euclidean":
            raise ValueError(f"ward linkage takes the euclidean metric only, not {parameters.metric}")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        linkage, metric = parameters.linkage, METRIC_ALIASES.get(parameters.metric, parameters.metric)
        use_core = parameters.engine == "auto" and (linkage, metric) in CORE_LINKAGES
        if use_core and points.packed_codes is not None:
            self._tree = _core_tree(points, points.packed_codes, linkage, metric, parameters)
        else:
            self._tree = _scipy_tree(points, linkage, metric)

    def compute_labels(self, k: int | None) -> np.ndarray:
        assert k is not None
        rows = len(self._tree) + 1
        if not 1 <= k <= rows:
            raise ValueError(f"k is {k}; it must be from 1 to {rows}, the number of rows in the tree")
        return codes.cut_tree(self._tree, k)


def _core_tree(
    points: Points, packed_codes: np.ndarray, linkage: str, metric: str, parameters: Parameters
) -> np.ndarray:
    """The tree of the distinct codes, float64 (d - 1, 4), by the compiled core."""
    size, attributes = points.rows.shape
    weights = points.weights if (points.weights != 1).any() else None

    def compute(sample: slice, progress: codes.Progress | None) -> np.ndarray:
        return codes.linkage(
            packed_codes[sample],
            points.counts[sample],
            linkage,
            attributes=attributes,
            metric=metric,
            weights=weights,
            threads=parameters.jobs,
            progress=progress,
        )

    return parameters.monitor.run(
        f"{linkage} linkage of {size:,} distinct codes",
        compute,
        size,
        sample_size=8192,
        exponent=2,
        memory_bytes=codes.linkage_bytes(linkage, size, attributes, weighted=weights is not None),
        alternative="use --linkage ward",
    )


def _scipy_tree(points: Points, linkage: str, metric: str) -> np.ndarray:
    """The tree by SciPy: of all faces for ward and average linkage, float64 (n - 1, 4), else of the distinct rows.

    Repeated rows do not change complete and single linkage, which therefore need the distinct rows only.
    """
    from scipy.cluster.hierarchy import linkage as scipy_linkage
    from scipy.spatial.distance import pdist

    rows = points.weighted_faces if linkage in ("ward", "average") else points.weighted_rows
    pairs = len(rows) * (len(rows) - 1) // 2
    # SciPy copies the float64 distances of all pairs once.
    require_memory(2 * 8 * pairs, f"{linkage} linkage of {len(rows):,} rows", "use --method kmeans")
    if len(rows) == 1:
        return np.empty((0, 4))
    return scipy_linkage(pdist(rows.astype(np.float64), _SCIPY_METRICS[metric]), linkage)
