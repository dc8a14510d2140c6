"""Run clustering methods: `cluster` for one clustering and its figures, `compare` for many.

`METHODS` lists the methods. `check_parameters`, `check_comparison` and `check_k` validate a call before any data is
read; `methods_using` tells which methods a parameter affects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from facetools.clustering.method import Components, Method, Parameters
from facetools.clustering.points import Points, inertia, renumber_by_size
from facetools.clustering.silhouette import mean_silhouette

#: The class of each method. The module of a method has the method's name and is imported on first use.
METHODS = {
    "kmeans": "KMeans",
    "agglomerative": "Agglomerative",
    "dbscan": "DBSCAN",
    "birch": "Birch",
    "spectral": "Spectral",
    "optics": "OPTICS",
    "kmedians": "KMedians",
    "mixture": "Mixture",
}


@dataclass(frozen=True)
class Clustering:
    """The labels of all faces and figures about them.

    `labels`: int32 (n,), the cluster of each face; 0 is the largest cluster, -1 is noise.
    `figures`: `method`, `parameters`, `clusters`, `noise` (faces), `noise_share` (of all faces), `inertia` (see
    points.inertia), `silhouette` (euclidean, without weights and noise; None if undefined or not computed), `faces`,
    `distinct_codes` (distinct rows), and `seconds` per stage. A mixture adds `log_likelihood`, `bic`, `icl` and
    `entropy`; K-Medians adds `l1`. Inertia and silhouette are None for rows with missing values.
    `components`: the components of a mixture, else None.
    `posteriors`: float64 (d, components), the probability of each component for each distinct row (see
    Points.inverse); None if not requested.
    """

    labels: np.ndarray
    figures: dict[str, Any]
    components: Components | None = None
    posteriors: np.ndarray | None = None


def load_method(name: str) -> type[Method]:
    """The class of the method `name`. Raises ValueError if there is no such method."""
    if name not in METHODS:
        raise ValueError(f"'{name}' is not a clustering method; choose from {', '.join(METHODS)}")
    return getattr(import_module(f"facetools.clustering.{name}"), METHODS[name])


def methods_using(parameter: str) -> list[str]:
    """The names of the methods whose result depends on `parameter`, a field of Parameters, or that use its device."""
    return [
        name
        for name in METHODS
        if (load_method(name).uses_gpu if parameter == "device" else parameter in load_method(name).parameter_names)
    ]


def supports_missing(names: Iterable[str]) -> bool:
    """Whether all methods `names` can cluster rows with missing values (see points.from_partial)."""
    return all(load_method(name).supports_missing for name in names)


def check_parameters(parameters: Parameters, name: str) -> None:
    """Raise ValueError if there is no method `name`, or if it does not support this combination of parameters."""
    load_method(name).check_parameters(parameters)


def check_comparison(parameters: Parameters, names: Sequence[str]) -> list[str]:
    """Raise ValueError if `compare` cannot run one of the methods `names` with `parameters`.

    Returns the methods that do not support the metric. They are compared with the euclidean metric, if another method
    supports the metric.
    """
    without_metric = [name for name in names if not load_method(name).supports_metric(parameters.metric)]
    uses_metric = [name for name in names if "metric" in load_method(name).parameter_names]
    for name in names:
        is_replaced = name in without_metric and len(without_metric) < len(uses_metric)
        check_parameters(replace(parameters, metric="euclidean") if is_replaced else parameters, name)
    return without_metric


def check_k(k: int | None, name: str) -> None:
    """Raise ValueError if `k` is missing, below 1, or given to a method that determines the number of clusters."""
    requires_k = load_method(name).requires_k
    if requires_k and k is None:
        raise ValueError(f"the method {name} needs the number of clusters, k")
    if k is not None and not requires_k:
        raise ValueError(f"the method {name} finds the number of clusters itself; omit k")
    if k is not None and k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")


def cluster(
    points: Points,
    name: str,
    k: int | None,
    parameters: Parameters,
    *,
    with_silhouette: bool = True,
    with_posteriors: bool = False,
) -> Clustering:
    """Cluster `points` by the method `name` into `k` clusters.

    `k` is None for methods that determine the number of clusters. Only a mixture has posteriors. Raises ValueError for
    invalid arguments, MemoryLimitError if memory does not suffice.
    """
    check_parameters(parameters, name)
    check_k(k, name)
    started = time.perf_counter()
    method = _start(points, name, parameters)
    clustering = _run(method, points, name, k, parameters, started, with_silhouette=with_silhouette)
    return replace(clustering, posteriors=method.posteriors()) if with_posteriors else clustering


def compare(
    points: Points,
    names: Iterable[str],
    ks: Sequence[int],
    parameters: Parameters,
    *,
    on_failure: Callable[[str, str], None],
    on_result: Callable[[], None] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """Yield the figures of each method for each k, with the key `k` added.

    Methods that determine the number of clusters run once, with k = None. Each method shares the work that does not
    depend on k. A method that does not support the metric runs with the euclidean metric, as its figures then say (see
    `check_comparison`). If a method fails, `on_failure(method and k, reason)` is called and its larger k are skipped.
    `on_result()` is called after each clustering.
    """
    chosen = parameters
    for name in names:
        started = time.perf_counter()
        try:
            supported = load_method(name).supports_metric(chosen.metric)
            parameters = chosen if supported else replace(chosen, metric="euclidean")
            check_parameters(parameters, name)
            method = _start(points, name, parameters)
        except ValueError as error:
            on_failure(name, str(error))
            continue
        for k in ks if method.requires_k else [None]:
            try:
                yield {"k": k, **_run(method, points, name, k, parameters, started).figures}
            except ValueError as error:
                skipped = "" if k is None else f" with k = {k}{'' if k == ks[-1] else ' and more'}"
                on_failure(name + skipped, str(error))
                break  # larger k would fail for the same reason
            on_result()
            started = time.perf_counter()


def _start(points: Points, name: str, parameters: Parameters) -> Method:
    """The method `name` for `points`. Raises ValueError if there are none, or if the metric is undefined for one."""
    if not points.faces:
        raise ValueError("there are no faces to cluster")
    method = load_method(name)
    if points.has_missing and not method.supports_missing:
        raise ValueError(f"the method {name} cannot cluster rows with missing values; use --method mixture")
    if "metric" in method.parameter_names and parameters.metric == "cosine":
        points.check_directions()
    return method(points, parameters)


def _require_distinct(points: Points, k: int, metric: str) -> None:
    """Raise ValueError if `k` exceeds the number of distinct rows: equal faces cannot be in different clusters."""
    directions = metric == "cosine"
    largest = points.distinct_directions if directions else points.distinct_rows
    if k > largest:
        rows = "distinct directions" if directions else "distinct rows"
        raise ValueError(f"k is {k}; it must be from 1 to {largest}, the number of {rows}")


def _run(
    method: Method,
    points: Points,
    name: str,
    k: int | None,
    parameters: Parameters,
    started: float,
    *,
    with_silhouette: bool = True,
) -> Clustering:
    """`started` is the time (perf_counter) at which the work for this clustering began."""
    metric = parameters.metric if "metric" in method.parameter_names else "euclidean"
    if k is not None:
        _require_distinct(points, k, metric)
    labels = method.compute_labels(k)
    is_per_row = len(labels) == len(points.counts)
    labels = renumber_by_size(labels, points.counts if is_per_row else None)
    cluster_end = time.perf_counter()
    has_distances = not points.has_missing
    with_silhouette &= has_distances
    silhouette = mean_silhouette(points, labels, parameters.jobs, parameters.monitor) if with_silhouette else None
    silhouette_end = time.perf_counter()
    face_labels = labels[points.inverse] if is_per_row else labels
    used_parameters = {field: getattr(parameters, field) for field in method.parameter_names}
    if "redo" in used_parameters:
        used_parameters["redo"] = parameters.redo or method.default_redo
    noise = int((face_labels < 0).sum())
    figures = {
        "method": name,
        "parameters": ({"k": k} if method.requires_k else {}) | used_parameters,
        "clusters": int(labels.max(initial=-1)) + 1,
        "noise": noise,
        "noise_share": round(noise / points.faces, 6),
        "inertia": inertia(points, labels, metric) if has_distances else None,
        "silhouette": silhouette,
        **method.figures(),
        "faces": points.faces,
        "distinct_codes": len(points.counts),
        "seconds": {
            "cluster": round(cluster_end - started, 3),
            "silhouette": round(silhouette_end - cluster_end, 3),
        },
    }
    return Clustering(face_labels, figures, method.components())
