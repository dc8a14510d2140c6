"""Rows as K-Means sees them: seeding, the nearest of some centroids, and means; counts weigh as repeated rows.

Of bits, the compiled core finds the nearest centroids in double and takes the means from integer sums, in less time
than it takes to tell a GPU of them. Of other values, and on a GPU that is asked for, FAISS finds the nearest centroids;
the means are double sums.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Protocol

import numpy as np

from facetools.clustering import codes
from facetools.clustering.points import cluster_sums
from facetools.runtime import extras, hardware

#: Rows below which to start threads takes longer than what they would do.
FEW = 4096


class Rows(Protocol):
    """Distinct rows and what K-Means asks of them; centroids are (k, a)."""

    #: int64 (d,) faces that share each row
    counts: np.ndarray
    #: float64 (a,) what is multiplied on differences of centroids before distances are taken
    weights: np.ndarray

    def part(self, rows: np.ndarray) -> Rows:
        """Some of the rows, by their numbers."""

    def seed(self, k: int, rng: np.random.Generator) -> np.ndarray:
        """First centroids, by greedy k-means++."""

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest centroid of each row, int (d,), and its squared distance (d,)."""

    def means(self, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The mean of the faces of each cluster and their number (k,), float64; no cluster is empty."""


class BitRows:
    """Rows of bits: all in the core, exact in the bits; centroids are unweighted."""

    def __init__(self, packed: np.ndarray, counts: np.ndarray, weights: np.ndarray, jobs: int) -> None:
        self.counts, self.weights = counts, weights
        self._codes, self._jobs = packed, jobs
        self._threads = jobs if len(packed) >= FEW else 1

    def part(self, rows: np.ndarray) -> BitRows:
        return BitRows(self._codes[rows], self.counts[rows], self.weights, self._jobs)

    def seed(self, k: int, rng: np.random.Generator) -> np.ndarray:
        chosen = codes.kmeans_seed(
            self._codes,
            self.counts,
            k,
            int(rng.integers(2**63)),
            attributes=len(self.weights),
            weights=self.weights,
            threads=self._threads,
        )
        return codes.unpack(self._codes[chosen], len(self.weights)).astype(np.float64)

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels, distances, _ = codes.kmeans_assign(
            self._codes, self.counts, centroids, weights=self.weights, threads=self._threads
        )
        return labels, distances

    def means(self, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        labels = labels.astype(np.int32, copy=False)
        attributes = len(self.weights)
        sums, sizes = codes.kmeans_update(
            self._codes, self.counts, labels, k, attributes=attributes, threads=self._threads
        )
        return sums / sizes[:, None], sizes.astype(np.float64)


class VectorRows:
    """Rows of float32 values. FAISS finds the nearest centroids, on a GPU where there is one; without FAISS,
    scikit-learn does. Centroids are weighted."""

    def __init__(self, scaled: np.ndarray, counts: np.ndarray, jobs: int, gpu: int | None) -> None:
        self.counts, self.weights = counts, np.ones(scaled.shape[1])
        self._scaled = np.ascontiguousarray(scaled)
        self._search = _FaissSearch(jobs, gpu) if extras.is_installed("faiss") else _SklearnSearch(jobs)

    def part(self, rows: np.ndarray) -> VectorRows:
        selected = copy(self)
        selected.counts, selected._scaled = self.counts[rows], self._scaled[rows]
        return selected

    def seed(self, k: int, rng: np.random.Generator) -> np.ndarray:
        return seed_centroids(self._scaled, self.counts, k, rng)

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._search.nearest(self._scaled, np.ascontiguousarray(centroids, np.float32))

    def means(self, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        sums, sizes = cluster_sums(self._scaled, self.counts, labels, k)
        return sums / sizes[:, None], sizes


class _SklearnSearch:
    def __init__(self, jobs: int) -> None:
        from sklearn.metrics import pairwise_distances_argmin_min
        from threadpoolctl import threadpool_limits

        self._nearest: Any = pairwise_distances_argmin_min
        self._limits: Any = threadpool_limits
        self._jobs = jobs

    def nearest(self, rows: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with self._limits(self._jobs):
            labels, distances = self._nearest(rows, centroids, metric="sqeuclidean")
        return labels, distances


class _FaissSearch:
    def __init__(self, jobs: int, gpu: int | None) -> None:
        import faiss

        self._module: Any = faiss
        self._gpu = gpu
        self._resources = None if gpu is None else faiss.StandardGpuResources()
        faiss.omp_set_num_threads(jobs)

    def nearest(self, rows: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        index = self._module.IndexFlatL2(centroids.shape[1])
        if self._resources is not None:
            index = self._module.index_cpu_to_gpu(self._resources, self._gpu, index)
        index.add(centroids)
        distances, labels = index.search(rows, 1)
        return labels[:, 0], distances[:, 0]


def seed_centroids(rows: np.ndarray, counts: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
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


def faiss_gpu(device: str) -> int | None:
    """The number of the GPU for FAISS, or None for the CPU. Raises ValueError if `device` names a GPU that FAISS cannot
    use, MissingExtraError if it names a GPU and FAISS is not installed."""
    wanted = device.startswith("cuda")
    if wanted and not extras.is_installed("faiss"):
        raise extras.MissingExtraError(f"the device {device} needs FAISS: pip install 'facetools[gpu]'")
    if not wanted and (device == "cpu" or not hardware.gpu_count() or not extras.is_installed("faiss")):
        return None  # without FAISS, which takes a quarter of a second to import
    import faiss

    number = int(device.partition(":")[2] or 0)
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > number:
        return number
    if not wanted:
        return None
    raise ValueError(f"FAISS cannot use the device {device} here")
