"""K-Means (Lloyd 1982) on distinct rows with counts: the paper's method of choice.

A row with count w weighs as w equal rows in seeding, centroids and objective. Of bits, the compiled core finds the
nearest centroids in double and takes the means from integer sums. Of other values, and on a GPU, FAISS finds the
nearest centroids; the means are double sums.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from facetools import codes
from facetools.clustering.method import Parameters
from facetools.clustering.points import Points, cluster_sums, inertia

MAX_ITERATIONS = 300


class KMeans:
    takes_k = True
    uses = ("redo", "seed")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        self._points = points
        self._parameters = parameters
        gpu = _gpu(parameters.device)
        on_core = points.packed is not None and gpu is None and parameters.engine == "auto"
        self._rows: _Rows = _Bits(points, parameters.jobs) if on_core else _Values(points, parameters.jobs, gpu)

    def labels(self, k: int | None) -> np.ndarray:
        assert k is not None
        if not 1 <= k <= len(self._points.counts):
            raise ValueError(f"k is {k}; it must be from 1 to {len(self._points.counts)}, the number of distinct rows")
        starts = (self._once(k, [self._parameters.seed, k, start]) for start in range(self._parameters.redo))
        return min(starts, key=lambda labels: inertia(self._points, labels))

    def _once(self, k: int, seed: list[int]) -> np.ndarray:
        centroids = self._rows.seed(k, np.random.default_rng(seed))
        labels = np.full(len(self._points.counts), -1)
        for _ in range(MAX_ITERATIONS):
            before, (labels, distances) = labels, self._rows.nearest(centroids)
            _fill_empty(labels, distances, k)
            if np.array_equal(before, labels):
                break
            centroids = self._rows.means(labels, k)
        return labels


class _Rows(Protocol):
    """Distinct rows and what K-Means asks of them; centroids are (k, a)."""

    def seed(self, k: int, rng: np.random.Generator) -> np.ndarray:
        """First centroids, by greedy k-means++."""

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest centroid of each row, int (d,), and its squared distance (d,)."""

    def means(self, labels: np.ndarray, k: int) -> np.ndarray:
        """The mean of the faces of each cluster."""


class _Bits:
    """Rows of bits: all in the core, exact in the bits; centroids are unweighted."""

    def __init__(self, points: Points, jobs: int) -> None:
        assert points.packed is not None
        self._codes, self._counts = points.packed, points.counts
        self._bits, self._weights, self._jobs = points.rows, points.weights, jobs

    def seed(self, k: int, rng: np.random.Generator) -> np.ndarray:
        chosen = codes.kmeans_seed(
            self._codes,
            self._counts,
            k,
            int(rng.integers(2**63)),
            attributes=len(self._weights),
            weights=self._weights,
            threads=self._jobs,
        )
        return self._bits[chosen].astype(np.float64)

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels, distances, _ = codes.kmeans_assign(
            self._codes, self._counts, centroids, weights=self._weights, threads=self._jobs
        )
        return labels, distances

    def means(self, labels: np.ndarray, k: int) -> np.ndarray:
        labels = labels.astype(np.int32, copy=False)
        attributes = len(self._weights)
        sums, sizes = codes.kmeans_update(
            self._codes, self._counts, labels, k, attributes=attributes, threads=self._jobs
        )
        return sums / sizes[:, None]


class _Values:
    """Rows of any values: FAISS finds the nearest centroids, on a GPU where there is one; centroids are weighted."""

    def __init__(self, points: Points, jobs: int, gpu: int | None) -> None:
        import faiss

        self._faiss: Any = faiss
        self._scaled, self._counts = np.ascontiguousarray(points.scaled), points.counts
        self._gpu = gpu
        self._resources = None if gpu is None else faiss.StandardGpuResources()
        faiss.omp_set_num_threads(jobs)

    def seed(self, k: int, rng: np.random.Generator) -> np.ndarray:
        return seed(self._scaled, self._counts, k, rng)

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        index = self._faiss.IndexFlatL2(centroids.shape[1])
        if self._resources is not None:
            index = self._faiss.index_cpu_to_gpu(self._resources, self._gpu, index)
        index.add(np.ascontiguousarray(centroids, np.float32))
        distances, labels = index.search(self._scaled, 1)
        return labels[:, 0], distances[:, 0]

    def means(self, labels: np.ndarray, k: int) -> np.ndarray:
        sums, sizes = cluster_sums(self._scaled, self._counts, labels, k)
        return sums / sizes[:, None]


def seed(rows: np.ndarray, counts: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k rows as first centroids, float32 (k, a), by greedy k-means++ (Arthur and Vassilvitskii 2007): each is the best
    of 2 + log k rows drawn with probability proportional to count x squared distance to the nearest one so far."""
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)

    def distances_to(chosen: np.ndarray) -> np.ndarray:
        products = (rows @ rows[chosen].T).astype(np.float64)
        return np.maximum(squares[:, None] - 2 * products + squares[chosen], 0.0)

    trials = 2 + int(np.log(k))
    chosen = [int(_draw(counts.astype(np.float64), 1, rng)[0])]
    nearest = distances_to(np.array(chosen))[:, 0]
    nearest[chosen] = 0.0
    while len(chosen) < k:
        mass = counts * nearest
        if not mass.any():
            # All rows coincide with a centroid in float32: the rest may be any others.
            mass = np.isin(np.arange(len(rows)), chosen, invert=True).astype(np.float64)
        candidates = _draw(mass, trials, rng)
        after = np.minimum(nearest[:, None], distances_to(candidates))
        after[candidates, np.arange(trials)] = 0.0
        best = int(np.argmin(counts @ after))
        chosen.append(int(candidates[best]))
        nearest = after[:, best]
    return rows[chosen]


def _draw(mass: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Positions drawn with probability proportional to `mass`."""
    cumulative = np.cumsum(mass)
    drawn = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    return np.minimum(drawn, np.flatnonzero(mass)[-1])


def _fill_empty(labels: np.ndarray, distances: np.ndarray, k: int) -> None:
    """Gives each empty cluster the row farthest from its centroid, from clusters that have another."""
    sizes = np.bincount(labels, minlength=k)
    empty = np.flatnonzero(sizes == 0)
    if not len(empty):
        return
    farthest = iter(np.argsort(-distances, kind="stable"))
    for cluster in empty:
        row = next(row for row in farthest if sizes[labels[row]] > 1)
        sizes[labels[row]] -= 1
        sizes[cluster] += 1
        labels[row] = cluster


def _gpu(device: str) -> int | None:
    """The number of the GPU that FAISS is to use, None for none; a ValueError where one is asked for and not there."""
    if device == "cpu":
        return None
    import faiss

    number = int(device.partition(":")[2] or 0)
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > number:
        return number
    if device == "auto":
        return None
    raise ValueError(f"there is no device {device} that FAISS can use here")
