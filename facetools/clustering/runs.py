"""Run clustering methods: one clustering with its figures, or a comparison of methods and numbers of clusters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from facetools.clustering.method import Method, Parameters, check_parameters
from facetools.clustering.points import Points, inertia, renumber
from facetools.clustering.silhouette import mean_silhouette

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
    check_parameters(parameters, name)
    started = time.perf_counter()
    method = method_class(name)(points, parameters)
    return _evaluate(points, name, method, k, parameters, judge, started)


def compare(
    points: Points,
    names: Iterable[str],
    ks: Iterable[int],
    parameters: Parameters,
    *,
    on_failure: Callable[[str, str], None],
    on_result: Callable[[], None] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """The figures of each method for each k, `k` being one of them: None for methods that find the number themselves.

    The work that serves every k of a method is done once. `on_failure` is told what cannot be had, by method and k.
    """
    ks = list(ks)
    for name in names:
        started = time.perf_counter()
        try:
            _require(points, name, 1)
            check_parameters(parameters, name)
            method = method_class(name)(points, parameters)
        except ValueError as error:
            on_failure(name, str(error))
            continue
        for k in ks if method.takes_k else [None]:
            try:
                yield {"k": k, **_evaluate(points, name, method, k, parameters, True, started).figures}
            except ValueError as error:
                on_failure(
                    name if k is None else f"{name} with k = {k}{' and more' if k != ks[-1] else ''}", str(error)
                )
                break  # as each larger one would fail
            on_result()
            started = time.perf_counter()


def _require(points: Points, name: str, k: int | None) -> None:
    if not points.faces:
        raise ValueError("there are no faces to cluster")
    if k is None and method_class(name).takes_k:
        raise ValueError(f"the method {name} needs the number of clusters, k")


def _evaluate(
    points: Points, name: str, method: Method, k: int | None, parameters: Parameters, judge: bool, started: float
) -> Clustering:
    found = method.labels(k if method.takes_k else None)
    per_row = len(found) == len(points.counts)
    labels = renumber(found, points.counts if per_row else None)
    clustered = time.perf_counter()
    score = mean_silhouette(points, labels, parameters.jobs, parameters.watch) if judge else None
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
