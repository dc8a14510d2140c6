"""Attribute rows as packed 64-bit codes, and what the compiled core computes on them.

Everywhere: ``codes`` is uint64 of shape (n, words), where bit j of word w is attribute 64 w + j (a shape of (n,) stands
for one word); ``counts`` is int64 of shape (n,), the number of faces that share each code. A count of w means the same
as w equal rows. No answer depends on ``threads`` (0: as many as this process may use). ``progress`` is called now and
then, from the calling thread, with the share of the work done.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facetools import _core

Progress = Callable[[float], object]


METRICS = ("euclidean", "sqeuclidean", "manhattan", "cosine")


LINKAGE_METRICS = {
    "ward": ("euclidean",),
    "average": ("manhattan", "sqeuclidean", "hamming"),
    "centroid": ("euclidean",),
    "single": ("manhattan", "sqeuclidean", "hamming", "euclidean"),
    "complete": ("manhattan", "sqeuclidean", "hamming", "euclidean"),
}


@dataclass(frozen=True)
class Distinct:
    """The distinct codes of n rows, in order of first appearance."""

    codes: NDArray[np.uint64]  # (d, words)
    counts: NDArray[np.int64]  # (d,) rows with that code
    inverse: NDArray[np.int64]  # (n,) number of each row's code: codes[inverse] are the rows
    first: NDArray[np.int64]  # (d,) first row with that code


@dataclass(frozen=True)
class Silhouette:
    mean: float  # over the labelled faces
    samples: NDArray[np.float64]  # (d,) of each face with that code; NaN where the label is -1


def simd() -> str:
    """The instruction set that the core uses: avx512, avx2, neon or portable."""
    return _core.simd()


def pack(rows: NDArray[np.generic], threshold: float = 0.5, *, threads: int = 0) -> NDArray[np.uint64]:
    """Codes (n, words) of rows (n, attributes): a bit is set where score >= threshold.

    rows: float32 or float64 scores, where NaN is refused, or uint8 or bool attributes, where only 0 and 1 are taken and
    the threshold is not used.
    """
    if rows.ndim != 2:
        raise ValueError(f"rows: two dimensions are needed, not {rows.ndim}")
    if rows.dtype == np.bool_:
        rows = rows.view(np.uint8)
    if rows.dtype not in (np.float32, np.float64, np.uint8):
        raise ValueError(f"rows: float32, float64, uint8 or bool is needed, not {rows.dtype}")
    return _core.pack(np.ascontiguousarray(rows), threshold, _threads(threads), None)


def unpack(codes: NDArray[np.uint64], attributes: int, *, threads: int = 0) -> NDArray[np.uint8]:
    """Attributes (n, attributes), 0 or 1, of codes."""
    return _core.unpack(_codes(codes), _attributes(attributes), _threads(threads), None)


def distinct(codes: NDArray[np.uint64], *, progress: Progress | None = None) -> Distinct:
    """The distinct codes, in order of first appearance, with counts."""
    found, counts, inverse, first = _core.distinct(_codes(codes), progress)
    return Distinct(found, counts, inverse, first)


def silhouette(
    codes: NDArray[np.uint64],
    counts: NDArray[np.int64],
    labels: NDArray[np.int32],
    *,
    attributes: int,
    metric: str = "euclidean",
    weights: NDArray[np.float64] | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Silhouette:
    """The exact silhouette (Rousseeuw 1987) of distinct codes, over all the faces that they stand for.

    The distance of a face to itself is left out once; a cluster of one face scores 0; codes labelled -1 are neither
    scored nor a cluster. weights (attributes,) multiply the attributes before distances are taken. One score of a code
    takes O(d) for the euclidean metric and O(clusters x attributes) for the others.
    """
    codes = _codes(codes)
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (len(codes),):
        raise ValueError(f"labels: {len(codes)} integers are needed, not {labels.dtype} of shape {labels.shape}")
    if labels.size and labels.min() < -1:
        raise ValueError("labels: below -1")
    present, dense = np.unique(labels, return_inverse=True)
    noise = int(present.size > 0 and present[0] == -1)
    if present.size - noise < 2:
        raise ValueError(f"labels: two clusters or more are needed, not {present.size - noise}")
    mean, samples = _core.silhouette(
        codes,
        _counts(counts),
        (dense - noise).astype(np.int32),
        _attributes(attributes),
        metric,
        _weights(weights, attributes),
        _threads(threads),
        progress,
    )
    return Silhouette(mean, samples)


def silhouette_bytes(codes: int, attributes: int) -> int:
    """The memory that the euclidean silhouette takes for that many distinct codes."""
    return codes * (attributes // 8 + 80)


def dbscan(
    codes: NDArray[np.uint64],
    counts: NDArray[np.int64],
    radius: int,
    min_samples: int,
    *,
    threads: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.int32]:
    """Labels (d,) by DBSCAN (Ester et al. 1996) of distinct codes under the Hamming distance; -1 is noise.

    A core code has at least min_samples faces within radius, its own included. Clusters are numbered by their first
    core code, and a code that is no core goes to the first cluster with a core code within radius, as in scikit-learn.
    """
    if radius < 0:
        raise ValueError(f"radius: {radius} is negative")
    return _core.dbscan(_codes(codes), _counts(counts), min(radius, 256), min_samples, _threads(threads), progress)


def dbscan_bytes(codes: int) -> int:
    """The memory that dbscan takes for that many distinct codes, at most."""
    return codes * 64


def linkage(
    codes: NDArray[np.uint64],
    counts: NDArray[np.int64],
    method: str = "ward",
    *,
    attributes: int,
    metric: str | None = None,
    weights: NDArray[np.float64] | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """The tree (d - 1, 4) of agglomerative clustering, in SciPy's form over distinct codes.

    It is the tree of all the faces that the codes stand for, less the merges of equal ones at height 0; column 3 counts
    faces. Heights are SciPy's. weights (attributes,) multiply the attributes before distances are taken.

    method: ward and centroid, whose metric is euclidean; average, whose metric is hamming (the share of attributes that
    differ), manhattan (default) or sqeuclidean; single and complete, which also take euclidean.
    Equal distances: of equally near clusters, the one with the smaller first code is taken for nearest.
    Memory: see linkage_bytes.
    """
    if method not in LINKAGE_METRICS:
        raise ValueError(f"method: {', '.join(LINKAGE_METRICS)} are known, not {method}")
    metric = metric or LINKAGE_METRICS[method][0]
    if metric not in LINKAGE_METRICS[method]:
        advice = "; average distances have no roots here, take sqeuclidean or manhattan" if method == "average" else ""
        raise ValueError(f"metric: {method} takes {' or '.join(LINKAGE_METRICS[method])}, not {metric}{advice}")
    codes = _codes(codes)
    factors = _weights(weights, attributes)
    if factors is not None and metric in ("euclidean", "sqeuclidean"):
        factors = factors**2
    tree = _core.linkage(codes, _counts(counts), _attributes(attributes), method, factors, _threads(threads), progress)
    if metric == "euclidean" and method in ("single", "complete"):
        np.sqrt(tree[:, 2], out=tree[:, 2])
    elif metric == "hamming":
        tree[:, 2] /= max(attributes, 1)
    return tree


def linkage_bytes(method: str, codes: int, attributes: int, *, weighted: bool = False) -> int:
    """The memory that linkage takes for that many distinct codes: for complete linkage it grows with their square."""
    if method == "complete":
        return codes * codes * (8 if weighted or attributes > 254 else 1)
    return codes * (attributes // 4 + 64 if method == "single" else 12 * attributes + 128)


def cut(tree: NDArray[np.float64], clusters: int) -> NDArray[np.int32]:
    """Labels (d,) of that many clusters, from 1 to d, out of such a tree; numbered by first appearance."""
    return _core.cut(np.ascontiguousarray(tree, dtype=np.float64), clusters)


def kmeans_seed(
    codes: NDArray[np.uint64],
    counts: NDArray[np.int64],
    clusters: int,
    seed: int,
    *,
    attributes: int,
    weights: NDArray[np.float64] | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """The numbers (clusters,) of different codes to start from, by greedy k-means++ (Arthur and Vassilvitskii 2007).

    A count weighs as that many equal rows one after the other. weights multiply the attributes.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: {seed} is not from 0 to 2^64 - 1")
    if not 1 <= clusters <= len(codes):
        raise ValueError(f"clusters: {clusters} is not from 1 to {len(codes)}, the number of codes")
    return _core.kmeans_seed(
        _codes(codes),
        _counts(counts),
        _attributes(attributes),
        clusters,
        seed,
        _squares(weights, attributes),
        _threads(threads),
        progress,
    )


def kmeans_assign(
    codes: NDArray[np.uint64],
    counts: NDArray[np.int64],
    centroids: NDArray[np.float64],
    *,
    weights: NDArray[np.float64] | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float64], float]:
    """Labels (d,), squared distances (d,) to the nearest of the centroids (clusters, attributes), and the inertia.

    Of equally near centroids the first is taken. weights multiply the attributes of codes and centroids. The inertia is
    the sum of the squared distances of all faces.
    """
    centroids = np.ascontiguousarray(centroids, dtype=np.float64)
    if centroids.ndim != 2:
        raise ValueError(f"centroids: two dimensions are needed, not {centroids.ndim}")
    return _core.kmeans_assign(
        _codes(codes), _counts(counts), centroids, _squares(weights, centroids.shape[1]), _threads(threads), progress
    )


def kmeans_update(
    codes: NDArray[np.uint64],
    counts: NDArray[np.int64],
    labels: NDArray[np.int32],
    clusters: int,
    *,
    attributes: int,
    threads: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Faces with each attribute (clusters, attributes) and faces (clusters,) of each cluster; -1 is left out.

    Their quotient is the centroids.
    """
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    return _core.kmeans_update(
        _codes(codes), _counts(counts), labels, clusters, _attributes(attributes), _threads(threads), None
    )


def _codes(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    codes = np.asarray(codes)
    if codes.dtype != np.uint64 or codes.ndim not in (1, 2):
        raise ValueError(f"codes: uint64 of shape (n, words) is needed, not {codes.dtype} of shape {codes.shape}")
    return np.ascontiguousarray(codes.reshape(-1, 1) if codes.ndim == 1 else codes)


def _counts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.asarray(counts)
    if counts.dtype.kind not in "iu" or counts.ndim != 1:
        raise ValueError(f"counts: integers of shape (n,) are needed, not {counts.dtype} of shape {counts.shape}")
    return np.ascontiguousarray(counts, dtype=np.int64)


def _weights(weights: NDArray[np.float64] | None, attributes: int) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    weights = np.ascontiguousarray(weights, dtype=np.float64)
    if weights.shape != (attributes,) or not ((weights >= 0) & (weights <= 1e100)).all():
        raise ValueError(f"weights: {attributes} numbers from 0 to 1e100 are needed")
    return None if (weights == 1).all() else weights


def _squares(weights: NDArray[np.float64] | None, attributes: int) -> NDArray[np.float64] | None:
    weights = _weights(weights, attributes)
    return None if weights is None else weights**2


def _attributes(attributes: int) -> int:
    if not 0 <= attributes <= 256:
        raise ValueError(f"attributes: 0 to 256 are known, not {attributes}")
    return attributes


def _threads(threads: int) -> int:
    if threads < 0:
        raise ValueError(f"threads: {threads} is negative")
    if threads:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
