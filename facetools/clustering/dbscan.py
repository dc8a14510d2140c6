"""DBSCAN (Ester et al. 1996) on distinct rows, whose counts weigh towards `min_samples`: exact for all faces."""

from __future__ import annotations

import math

import numpy as np

from facetools.clustering import codes
from facetools.clustering.method import METRIC_ALIASES, Parameters
from facetools.clustering.points import Points


class DBSCAN:
    """By the compiled core where distances are Hamming distances: unweighted bits, euclidean or manhattan; else
    scikit-learn's."""

    takes_k = False
    uses = ("metric", "eps", "min_samples")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        self._points = points
        self._parameters = parameters

    def labels(self, k: int | None) -> np.ndarray:
        points, parameters = self._points, self._parameters
        metric = METRIC_ALIASES.get(parameters.metric, parameters.metric)
        unweighted_bits = points.packed is not None and bool((points.weights == 1).all())
        if parameters.engine == "auto" and unweighted_bits and metric in ("euclidean", "manhattan"):
            return _on_core(points, hamming_radius(parameters.eps, metric, points.rows.shape[1]), parameters)
        from sklearn.cluster import DBSCAN as Reference

        method = Reference(
            eps=parameters.eps, min_samples=parameters.min_samples, metric=parameters.metric, n_jobs=parameters.jobs
        )
        return method.fit(points.scaled, sample_weight=points.counts).labels_


def _on_core(points: Points, radius: int, parameters: Parameters) -> np.ndarray:
    packed, size = points.packed, len(points.counts)
    assert packed is not None

    def labels(rows: slice, progress: codes.Progress | None) -> np.ndarray:
        return codes.dbscan(
            packed[rows],
            points.counts[rows],
            radius,
            parameters.min_samples,
            threads=parameters.jobs,
            progress=progress,
        )

    return parameters.watch.run(
        f"DBSCAN of {size:,} distinct codes",
        labels,
        size,
        sample=65536,
        power=2 if radius > 1 else 1,
        needed=codes.dbscan_bytes(size),
        instead="take --method kmeans",
    )


def hamming_radius(eps: float, metric: str, attributes: int) -> int:
    """The largest number of differing attributes, of `attributes`, whose distance is at most `eps`."""
    distance = math.sqrt if metric == "euclidean" else float
    return max(differing for differing in range(attributes + 1) if distance(differing) <= eps)
