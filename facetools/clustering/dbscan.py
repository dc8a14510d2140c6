"""DBSCAN (Ester, Kriegel, Sander and Xu 1996) of distinct rows. It determines the number of clusters.

The count of a row adds to the neighborhoods that contain it, so the result is exactly that of DBSCAN on all faces.
Unweighted 0/1 attributes with the euclidean or manhattan metric run in the compiled core, others in scikit-learn.
Time: O(d^2) in the worst case for d distinct codes. Memory: O(d).
"""

from __future__ import annotations

import math

import numpy as np

from facetools.clustering import codes
from facetools.clustering.method import MAX_RADIUS, METRIC_ALIASES, Method, Parameters
from facetools.clustering.points import Points


class DBSCAN(Method):
    requires_k = False
    parameter_names = ("metric", "eps", "min_samples")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        self._points = points
        self._parameters = parameters

    def compute_labels(self, k: int | None) -> np.ndarray:
        points, parameters = self._points, self._parameters
        # A number of faces beyond 64 bits is not an integer to the libraries.
        min_samples = min(parameters.min_samples, points.faces + 1)
        metric = METRIC_ALIASES.get(parameters.metric, parameters.metric)
        is_unweighted = bool((points.weights == 1).all())
        if (
            parameters.engine == "auto"
            and points.packed_codes is not None
            and is_unweighted
            and metric in ("euclidean", "manhattan")
        ):
            return _core_labels(points, points.packed_codes, metric, min_samples, parameters)
        from sklearn.cluster import DBSCAN as SklearnDBSCAN

        rows, exponent = points.rows_for(metric)
        eps = min(math.ldexp(min(parameters.eps, MAX_RADIUS), exponent), MAX_RADIUS)
        model = SklearnDBSCAN(eps=eps, min_samples=min_samples, metric=metric, n_jobs=parameters.jobs)
        return model.fit(rows, sample_weight=points.counts).labels_


def _core_labels(
    points: Points, packed_codes: np.ndarray, metric: str, min_samples: int, parameters: Parameters
) -> np.ndarray:
    size = len(packed_codes)
    radius = hamming_radius(parameters.eps, metric, points.rows.shape[1])

    def compute(sample: slice, progress: codes.Progress | None) -> np.ndarray:
        return codes.dbscan(
            packed_codes[sample],
            points.counts[sample],
            radius,
            min_samples,
            threads=parameters.jobs,
            progress=progress,
        )

    return parameters.monitor.run(
        f"DBSCAN of {size:,} distinct codes",
        compute,
        size,
        sample_size=65536,
        exponent=2 if radius > 1 else 1,  # neighbors within radius 1 are looked up in a hash table
        memory_bytes=codes.dbscan_bytes(size),
        alternative="use --method kmeans",
    )


def hamming_radius(eps: float, metric: str, attributes: int) -> int:
    """The largest number of differing attributes, out of `attributes`, whose distance in `metric` is at most `eps`."""
    distance = math.sqrt if metric == "euclidean" else float
    return max(differing for differing in range(attributes + 1) if distance(differing) <= eps)
