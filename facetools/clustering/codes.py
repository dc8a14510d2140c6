"""Attribute rows as packed 64-bit codes, and the exact algorithms of the compiled core on them.

Sizes: n rows, d distinct codes, w = ceil(attributes / 64) words per code, from 1 to 4.

Arguments that occur everywhere:

- `codes`: uint64 (n, w), where bit j of word i is attribute 64 i + j. The shape (n,) means one word.
- `counts`: int64 (d,), the number of faces that share each code. A count of c gives the result of c equal rows. The sum
  of all counts is at most 2^40.
- `attributes`: the number of attributes, from 0 to 256.
- `weights`: float64 (attributes,), factors of the attributes, applied before distances are computed; None for ones.
- `threads`: the number of threads, at most MAX_THREADS; 0 means all CPUs that this process may use. Results do not
  depend on it.
- `progress`: called now and then from the calling thread with the fraction of the work that is done. An exception that
  it raises stops the computation.

All functions raise ValueError for invalid arguments; the message starts with the argument's name.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetools import _core

Progress = Callable[[float], object]

#: The limits of the sum of all counts, and of the number of threads.
MAX_FACES, MAX_THREADS = 2**40, 1024

#: The metrics of `silhouette`.
METRICS = ("euclidean", "sqeuclidean", "manhattan", "cosine")

#: The metrics of each method of `linkage`; the first is the default.
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

    codes: NDArray[np.uint64]  # (d, w)
    counts: NDArray[np.int64]  # (d,) number of rows with each code
    inverse: NDArray[np.int64]  # (n,) index of each row's code: codes[inverse] equals the rows
    first: NDArray[np.int64]  # (d,) index of the first row with each code


@dataclass(frozen=True)
class Silhouette:
    """Silhouette scores, from -1 to 1."""

    mean: float  # over all faces whose label is not -1
    samples: NDArray[np.float64]  # (d,) score of each face with this code; NaN if the label is -1


def simd() -> str:
    """The instruction set that the core uses: avx512, avx2, neon or portable."""
    return _core.simd()


def pack(rows: NDArray[np.generic], threshold: float = 0.5, *, threads: int = 0) -> NDArray[np.uint64]:
    """Pack rows (n, attributes) into codes, uint64 (n, w).

    Scores, float32 or float64, set a bit if score >= `threshold`; NaN is an error. Attributes, uint8 or bool, must be 0
    or 1, and `threshold` is ignored. Time: O(n attributes).
    """
    rows = np.asarray(rows)
    if rows.ndim != 2:
        raise ValueError(f"rows: must have 2 dimensions, not {rows.ndim}")
    if rows.dtype == np.bool_:
        rows = rows.view(np.uint8)
    if rows.dtype not in (np.float32, np.float64, np.uint8):
        raise ValueError(f"rows: must be float32, float64, uint8 or bool, not {rows.dtype}")
    return _core.pack(np.ascontiguousarray(rows), threshold, _threads(threads), None)


def unpack(codes: NDArray[np.uint64], attributes: int, *, threads: int = 0) -> NDArray[np.uint8]:
    """Unpack codes into 0/1 attributes, uint8 (n, attributes). Time: O(n attributes)."""
    return _core.unpack(_codes(codes), _attributes(attributes), _threads(threads), None)


def distinct(codes: NDArray[np.uint64], *, progress: Progress | None = None) -> Distinct:
    """Find the distinct codes and count them, by hashing. Time: O(n w). Memory: O(n + d w)."""
    return Distinct(*_core.distinct(_codes(codes), progress))


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
    """Compute the exact silhouette (Rousseeuw 1987) of all faces.

    The score of a face is (b - a) / max(a, b), where a is its mean distance to the other faces of its cluster, and b
    the least mean distance to the faces of another cluster. It is 0 in a cluster of one face. `labels`: int (d,); codes
    labeled -1 are ignored. `metric`: one of METRICS.

    Time: O(d^2 w) for the euclidean metric, O(d clusters attributes) for the others. Memory: see silhouette_bytes.
    """
    codes = _codes(codes)
    labels = _labels(labels, codes)
    if labels.size and labels.min() < -1:
        raise ValueError(f"labels: must be at least -1, not {labels.min()}")
    used_labels, indices = np.unique(labels, return_inverse=True)
    has_noise = int(used_labels.size > 0 and used_labels[0] == -1)
    clusters = used_labels.size - has_noise
    if clusters < 2:
        raise ValueError(f"labels: must have at least 2 clusters, not {clusters}")
    mean, samples = _core.silhouette(
        codes,
        _counts(counts),
        (indices - has_noise).astype(np.int32),
        _attributes(attributes),
        metric,
        _weights(weights, attributes),
        _threads(threads),
        progress,
    )
    return Silhouette(mean, samples)


def silhouette_bytes(codes: int, attributes: int) -> int:
    """The estimated memory of `silhouette` with the euclidean metric, in bytes, for `codes` distinct codes."""
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
    """Cluster by DBSCAN (Ester et al. 1996) with the Hamming distance. Returns labels, int32 (d,); -1 is noise.

    A core sample has at least `min_samples` faces within `radius`, its own included. As in scikit-learn, clusters are
    numbered by their first core sample, and a border code belongs to the first cluster that has a core sample within
    `radius`.

    Time: at most O(d^2 w). For a small `radius`, each neighbor is looked up in a hash table instead:
    O(d attributes^radius). Memory: see dbscan_bytes.
    """
    if radius < 0:
        raise ValueError(f"radius: must not be negative, but is {radius}")
    if min_samples < 1:
        raise ValueError(f"min_samples: must be at least 1, not {min_samples}")
    # More samples than faces are as good as any larger number.
    samples = min(min_samples, MAX_FACES + 1)
    return _core.dbscan(_codes(codes), _counts(counts), min(radius, 256), samples, _threads(threads), progress)


def dbscan_bytes(codes: int) -> int:
    """An upper bound of the memory of `dbscan`, in bytes, for `codes` distinct codes."""
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
    """Build the tree of agglomerative clustering, float64 (d - 1, 4), in the form of scipy.cluster.hierarchy.linkage.

    It is the tree of all faces without the merges of equal codes at height 0. Column 3 is the number of faces. Heights
    are those of SciPy. Of several nearest clusters, the one with the smallest first code is merged.

    `method`: a key of LINKAGE_METRICS. `metric`: one of its metrics; hamming is the fraction of attributes that differ.

    Time: usually O(d^2 attributes) for ward, average and centroid; O(d^2 w) for single and complete. Memory: see
    linkage_bytes.
    """
    if method not in LINKAGE_METRICS:
        raise ValueError(f"method: must be one of {', '.join(LINKAGE_METRICS)}, not {method}")
    metric = metric or LINKAGE_METRICS[method][0]
    if metric not in LINKAGE_METRICS[method]:
        raise ValueError(f"metric: must be {' or '.join(LINKAGE_METRICS[method])} for {method} linkage, not {metric}")
    codes = _codes(codes)
    # The core adds up one value per differing attribute: its weight, or the square of it for squared distances.
    values = (_squared_weights if metric in ("euclidean", "sqeuclidean") else _weights)(weights, attributes)
    tree = _core.linkage(codes, _counts(counts), _attributes(attributes), method, values, _threads(threads), progress)
    if metric == "euclidean" and method in ("single", "complete"):
        np.sqrt(tree[:, 2], out=tree[:, 2])
    elif metric == "hamming":
        tree[:, 2] /= max(attributes, 1)
    return tree


def linkage_bytes(method: str, codes: int, attributes: int, *, weighted: bool = False) -> int:
    """The estimated memory of `linkage`, in bytes, for `codes` distinct codes.

    Complete linkage stores the distances of all pairs, O(d^2); the other methods need O(d attributes).
    """
    if method == "complete":
        return codes * codes * (8 if weighted or attributes > 254 else 1)
    return codes * (attributes // 4 + 64 if method == "single" else 12 * attributes + 128)


def cut_tree(tree: NDArray[np.float64], clusters: int) -> NDArray[np.int32]:
    """Labels, int32 (d,), of `clusters` clusters (1 to d) from a tree of `linkage`, numbered by first appearance."""
    tree = np.asarray(tree)
    if tree.ndim != 2 or tree.dtype != np.float64:
        raise ValueError(f"tree: must be float64 of shape (d - 1, 4), not {tree.dtype} of shape {tree.shape}")
    if not 1 <= clusters <= len(tree) + 1:
        raise ValueError(f"clusters: must be from 1 to {len(tree) + 1}, the number of codes, not {clusters}")
    return _core.cut(np.ascontiguousarray(tree), clusters)


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
    """Choose codes as initial centroids by greedy k-means++ (Arthur and Vassilvitskii 2007).

    Returns the indices of different codes, int64 (clusters,). `seed`, from 0 to 2^64 - 1, determines the random draws.
    A count draws like as many equal rows, one after the other. Time: O(d clusters w log(clusters)).
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: must be from 0 to 2^64 - 1, not {seed}")
    if not 1 <= clusters <= len(codes):
        raise ValueError(f"clusters: must be from 1 to {len(codes)}, the number of codes, not {clusters}")
    return _core.kmeans_seed(
        _codes(codes),
        _counts(counts),
        _attributes(attributes),
        clusters,
        seed,
        _squared_weights(weights, attributes),
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
    """Assign each code to its nearest centroid, the assignment step of Lloyd's algorithm (1982).

    `centroids`: float64 (clusters, attributes). Returns the labels, int32 (d,), the first of equally near centroids;
    the squared distances to the centroid, float64 (d,); and the inertia, their sum over all faces. `weights` apply to
    codes and centroids. Time: O(d clusters attributes).
    """
    centroids = np.asarray(centroids)
    if centroids.ndim != 2 or centroids.dtype.kind not in "fiu":
        raise ValueError(f"centroids: must be numbers of shape (k, a), not {centroids.dtype} of {centroids.shape}")
    centroids = np.ascontiguousarray(centroids, dtype=np.float64)
    return _core.kmeans_assign(
        _codes(codes),
        _counts(counts),
        centroids,
        _squared_weights(weights, centroids.shape[1]),
        _threads(threads),
        progress,
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
    """Count the faces of each cluster, the update step of Lloyd's algorithm.

    `labels`: int32 (d,); codes labeled -1 are ignored. Returns the number of faces that have each attribute, int64
    (clusters, attributes), and the number of faces, int64 (clusters,). Their quotients are the new centroids. Time:
    O(d attributes).
    """
    codes = _codes(codes)
    labels = _labels(labels, codes)
    if not 1 <= clusters <= max(len(codes), 65536):
        raise ValueError(f"clusters: must be from 1 to 65536, or to the number of codes, not {clusters}")
    if labels.size and not -1 <= labels.min() <= labels.max() < clusters:
        raise ValueError(f"labels: must be from -1 to {clusters - 1}, not from {labels.min()} to {labels.max()}")
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    return _core.kmeans_update(
        codes, _counts(counts), labels, clusters, _attributes(attributes), _threads(threads), None
    )


def mixture_expect(
    codes: NDArray[np.uint64],
    counts: NDArray[np.int64],
    log_weights: NDArray[np.float64],
    log_present: NDArray[np.float64],
    log_absent: NDArray[np.float64],
    *,
    threads: int = 0,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """The E-step of the EM algorithm (Dempster, Laird and Rubin 1977) for a mixture of independent attributes.

    The log-likelihood of a code in component c is `log_weights[c]` plus, for each attribute a, `log_present[c, a]` or
    `log_absent[c, a]`; all float64 from -10 000 to 0, (k,) and (k, attributes). Weights may also be -infinity. Returns
    the expected number of faces of each component, float64 (k,); the expected number of faces with each attribute, and
    without it, float64 (k, attributes); and the log-likelihood of all faces. Time: O(d k w).
    """
    logarithms = _logarithms(log_weights, log_present, log_absent)
    return _core.mixture_expect(_codes(codes), _counts(counts), *logarithms, _threads(threads), progress)


def mixture_posteriors(
    codes: NDArray[np.uint64],
    log_weights: NDArray[np.float64],
    log_present: NDArray[np.float64],
    log_absent: NDArray[np.float64],
    *,
    threads: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """The probability of each component for each code, float64 (n, k). Arguments and time are those of
    `mixture_expect`."""
    logarithms = _logarithms(log_weights, log_present, log_absent)
    return _core.mixture_posteriors(_codes(codes), *logarithms, _threads(threads), progress)


def _codes(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    codes = np.asarray(codes)
    if codes.dtype != np.uint64 or codes.ndim not in (1, 2):
        raise ValueError(f"codes: must be uint64 of shape (n, words), not {codes.dtype} of shape {codes.shape}")
    return np.ascontiguousarray(codes.reshape(-1, 1) if codes.ndim == 1 else codes)


def _counts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.asarray(counts)
    if counts.dtype.kind not in "iu" or counts.ndim != 1:
        raise ValueError(f"counts: must be integers of shape (n,), not {counts.dtype} of shape {counts.shape}")
    return np.ascontiguousarray(counts, dtype=np.int64)


def _labels(labels: NDArray[Any], codes: NDArray[np.uint64]) -> NDArray[Any]:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (len(codes),):
        raise ValueError(f"labels: must be {len(codes)} integers, not {labels.dtype} of shape {labels.shape}")
    return labels


def _logarithms(
    log_weights: NDArray[np.float64], log_present: NDArray[np.float64], log_absent: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The arguments as contiguous float64. The core checks their values."""

    def convert(name: str, array: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
        array = np.asarray(array)
        if array.ndim != dimensions or array.dtype.kind != "f":
            raise ValueError(f"{name}: must be floating-point numbers with {dimensions} dimensions")
        return np.ascontiguousarray(array, np.float64)

    return (
        convert("log_weights", log_weights, 1),
        convert("log_present", log_present, 2),
        convert("log_absent", log_absent, 2),
    )


def _weights(weights: NDArray[np.float64] | None, attributes: int) -> NDArray[np.float64] | None:
    """`weights` after validation; None if all are 1, which the core computes faster."""
    if weights is None:
        return None
    weights = np.ascontiguousarray(weights, dtype=np.float64)
    if weights.shape != (attributes,) or not ((weights >= 0) & (weights <= 1e100)).all():
        raise ValueError(f"weights: must be {attributes} numbers from 0 to 1e100")
    return None if (weights == 1).all() else weights


def _squared_weights(weights: NDArray[np.float64] | None, attributes: int) -> NDArray[np.float64] | None:
    weights = _weights(weights, attributes)
    return None if weights is None else weights**2


def _attributes(attributes: int) -> int:
    if not 0 <= attributes <= 256:
        raise ValueError(f"attributes: must be from 0 to 256, not {attributes}")
    return attributes


def _threads(threads: int) -> int:
    if threads < 0:
        raise ValueError(f"threads: must not be negative, but is {threads}")
    if threads:
        return min(threads, MAX_THREADS)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
