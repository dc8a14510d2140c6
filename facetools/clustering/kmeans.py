"""K-Means (Lloyd 1982) on distinct rows with counts: the paper's method of choice.

FAISS finds the nearest centroid of each distinct row, on a GPU where there is one; the centroids are double sums over
all faces. A row with count w weighs as w equal rows in seeding, centroids and objective.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from facetools.clustering.method import Parameters
from facetools.clustering.points import Points, cluster_sums, inertia

MAX_ITERATIONS = 300


class KMeans:
    takes_k = True
    uses = ("redo", "seed")

    def __init__(self, points: Points, parameters: Parameters) -> None:
        self._points = points
        self._parameters = parameters
        self._search = _Search(points.scaled, parameters)

    def labels(self, k: int | None) -> np.ndarray:
        assert k is not None
        if not 1 <= k <= len(self._points.counts):
            raise ValueError(f"k is {k}; it must be from 1 to {len(self._points.counts)}, the number of distinct rows")
        starts = (self._once(k, np.random.default_rng([self._parameters.seed, k, start])) for start in self._starts())
        return min(starts, key=lambda labels: inertia(self._points, labels))

    def _starts(self) -> range:
        return range(self._parameters.redo)

    def _once(self, k: int, rng: np.random.Generator) -> np.ndarray:
        scaled, counts = self._points.scaled, self._points.counts
        centroids = seed(scaled, counts, k, rng)
        labels = np.full(len(counts), -1)
        for _ in range(MAX_ITERATIONS):
            before, (labels, distances) = labels, self._search.nearest(centroids)
            _fill_empty(labels, distances, k)
            if np.array_equal(before, labels):
                break
            sums, sizes = cluster_sums(scaled, counts, labels, k)
            centroids = (sums / sizes[:, None]).astype(np.float32)
        return labels


def seed(rows: np.ndarray, counts: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k rows as first centroids, float32 (k, a), by greedy k-means++ (Arthur and Vassilvitskii 2006): each is the best
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


class _Search:
    """Nearest centroids by FAISS, exact."""

    def __init__(self, rows: np.ndarray, parameters: Parameters) -> None:
        import faiss

        self._faiss: Any = faiss
        self._rows = np.ascontiguousarray(rows)
        self._gpu = None
        faiss.omp_set_num_threads(parameters.jobs)
        wanted = parameters.device
        if wanted != "cpu" and hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
            self._gpu = faiss.StandardGpuResources()
            self._number = int(wanted.partition(":")[2] or 0)
        elif wanted not in ("auto", "cpu"):
            raise ValueError(f"there is no device {wanted} that FAISS can use here")

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest of `centroids` (k, a) to each row, int64 (d,), and its squared distance, float32 (d,)."""
        index = self._faiss.IndexFlatL2(centroids.shape[1])
        if self._gpu is not None:
            index = self._faiss.index_cpu_to_gpu(self._gpu, self._number, index)
        index.add(centroids)
        distances, labels = index.search(self._rows, 1)
        return labels[:, 0], distances[:, 0]
