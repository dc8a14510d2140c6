"""Clustering faces by their attributes: the methods, how a result is judged, and their comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from facetools import codes
from facetools.clustering.method import Method, Parameters, check
from facetools.clustering.points import Points, inertia, labelled, renumber
from facetools.clustering.watch import MemoryLimitError, Watch

__all__ = [
    "METHODS",
    "Clustering",
    "MemoryLimitError",
    "Method",
    "Parameters",
    "Points",
    "Watch",
    "check",
    "cluster",
    "compare",
    "silhouette",
]

#: The methods and the classes that do them; a module is imported when its method is asked for.
METHODS = {
    "kmeans": "KMeans",
    "agglomerative": "Agglomerative",
    "dbscan": "DBSCAN",
    "birch": "Birch",
    "spectral": "Spectral",
    "optics": "OPTICS",
}


@dataclass(frozen=True)
class Clustering:
    """A result: `labels` int32 (n,), a cluster from 0 (the largest) for each face, -1 for noise, and its figures.

    `figures` has the keys `method`, `parameters`, `clusters`, `noise`, `inertia` (all rows, weighted attributes),
    `silhouette` (unweighted attributes; None where it is not defined or was not asked for), `faces`, `distinct_codes`
    and `seconds` by stage.
    """

    labels: np.ndarray
    figures: dict[str, Any]


def method_class(name: str) -> type[Method]:
    """The class of the method called `name`."""
    return getattr(import_module(f"facetools.clustering.{name}"), METHODS[name])


def cluster(points: Points, name: str, k: int | None, parameters: Parameters, *, judge: bool = True) -> Clustering:
    """Clusters `points` by the method `name` into `k` clusters, and judges the result by silhouette if `judge`."""
    _require(points, name, k)
    check(parameters, name)
    started = time.perf_counter()
    method = method_class(name)(points, parameters)
    return _judged(points, name, method, k, parameters, judge, started)


def compare(
    points: Points,
    names: Iterable[str],
    ks: Iterable[int],
    parameters: Parameters,
    *,
    failed: Callable[[str, str], None],
    on_result: Callable[[], None] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """The figures of each method for each k, `k` being one of them: None for methods that find the number themselves.

    The work that serves every k of a method is done once. `failed` is told what cannot be had, by method and k.
    """
    ks = list(ks)
    for name in names:
        started = time.perf_counter()
        try:
            _require(points, name, 1)
            check(parameters, name)
            method = method_class(name)(points, parameters)
        except ValueError as error:
            failed(name, str(error))
            continue
        for k in ks if method.takes_k else [None]:
            try:
                yield {"k": k, **_judged(points, name, method, k, parameters, True, started).figures}
            except ValueError as error:
                failed(name if k is None else f"{name} with k = {k}{' and more' if k != ks[-1] else ''}", str(error))
                break  # as each larger one would fail
            on_result()
            started = time.perf_counter()


def _require(points: Points, name: str, k: int | None) -> None:
    if not points.faces:
        raise ValueError("there are no faces to cluster")
    if k is None and method_class(name).takes_k:
        raise ValueError(f"the method {name} needs the number of clusters, k")


def _judged(
    points: Points, name: str, method: Method, k: int | None, parameters: Parameters, judge: bool, started: float
) -> Clustering:
    found = method.labels(k if method.takes_k else None)
    per_row = len(found) == len(points.counts)
    labels = renumber(found, points.counts if per_row else None)
    clustered = time.perf_counter()
    score = silhouette(points, labels, parameters.jobs, parameters.watch) if judge else None
    judged = time.perf_counter()
    faces = labels[points.inverse] if per_row else labels
    used: dict[str, Any] = {"k": k} if method.takes_k else {}
    figures = {
        "method": name,
        "parameters": used | {field: getattr(parameters, field) for field in method.uses},
        "clusters": int(labels.max(initial=-1)) + 1,
        "noise": int((faces < 0).sum()),
        "inertia": inertia(points, labels),
        "silhouette": score,
        "faces": points.faces,
        "distinct_codes": len(points.counts),
        "seconds": {"cluster": round(clustered - started, 3), "silhouette": round(judged - clustered, 3)},
    }
    return Clustering(faces, figures)


def silhouette(points: Points, labels: np.ndarray, jobs: int = 1, watch: Watch | None = None) -> float | None:
    """The mean silhouette (Rousseeuw 1987) of the clustered faces, on unweighted attributes, euclidean, exact.

    `labels` int32 of the distinct rows (d,) or of all faces (n,); noise is neither scored nor a cluster. None where
    fewer than two clusters, or only clusters of one face, make it undefined.
    """
    rows, counts, pair_labels = labelled(points, labels)
    clusters = np.unique(pair_labels[pair_labels >= 0])
    if len(clusters) < 2 or len(clusters) == counts[pair_labels >= 0].sum():
        return None
    if points.packed is not None:
        packed, attributes = np.ascontiguousarray(points.packed[rows]), points.rows.shape[1]

        def scored(chosen: slice, progress: codes.Progress | None) -> float:
            return codes.silhouette(
                packed[chosen],
                counts[chosen],
                pair_labels[chosen],
                attributes=attributes,
                threads=jobs,
                progress=progress,
            ).mean

        return (watch or Watch()).run(
            f"the silhouette of {len(packed):,} distinct codes",
            scored,
            len(packed),
            sample=65536,
            power=2,
            needed=codes.silhouette_bytes(len(packed), attributes),
            instead="leave out --summary",
        )
    from sklearn.metrics import silhouette_score

    kept = pair_labels >= 0
    return float(silhouette_score(points.rows[rows[kept]], pair_labels[kept]))
