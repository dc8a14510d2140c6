"""Rows as K-Means sees them: seeding, the nearest of some centroids, and means; counts weigh as repeated rows.

Of bits, the compiled core finds the nearest centroids in double and takes the means from integer sums, in less time
than it takes to tell a GPU of them. Of other values, and on a GPU that is asked for, FAISS finds the nearest centroids;
the means are double sums.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from facetools import codes
from facetools.clustering.points import cluster_sums

#: What is there where there is a GPU that CUDA can use, on Linux and on Windows' Linux.
_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))

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


class Bits:
    """Rows of bits: all in the core, exact in the bits; centroids are unweighted."""

    def __init__(self, packed: np.ndarray, counts: np.ndarray, weights: np.ndarray, jobs: int) -> None:
        self.counts, self.weights = counts, weights
        self._codes, self._jobs = packed, jobs
        self._threads = jobs if len(packed) >= FEW else 1

    def part(self, rows: np.ndarray) -> Bits:
        return Bits(self._codes[rows], self.counts[rows], self.weights, self._jobs)

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


class Values:
    """Rows of any values: FAISS finds the nearest centroids, on a GPU where there is one; centroids are weighted."""

    def __init__(self, scaled: np.ndarray, counts: np.ndarray, jobs: int, gpu: int | None) -> None:
        import faiss

        self.counts, self.weights = counts, np.ones(scaled.shape[1])
        self._faiss: Any = faiss
        self._scaled, self._gpu = np.ascontiguousarray(scaled), gpu
        self._resources = None if gpu is None else faiss.StandardGpuResources()
        faiss.omp_set_num_threads(jobs)

    def part(self, rows: np.ndarray) -> Values:
        some = copy(self)
        some.counts, some._scaled = self.counts[rows], self._scaled[rows]
        return some

    def seed(self, k: int, rng: np.random.Generator) -> np.ndarray:
        return seed(self._scaled, self.counts, k, rng)

    def nearest(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        index = self._faiss.IndexFlatL2(centroids.shape[1])
        if self._resources is not None:
            index = self._faiss.index_cpu_to_gpu(self._resources, self._gpu, index)
        index.add(np.ascontiguousarray(centroids, np.float32))
        distances, labels = index.search(self._scaled, 1)
        return labels[:, 0], distances[:, 0]

    def means(self, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        sums, sizes = cluster_sums(self._scaled, self.counts, labels, k)
        return sums / sizes[:, None], sizes


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


def gpu_of(device: str) -> int | None:
    """The number of the GPU that FAISS is to use, None for none; a ValueError where one is asked for and not there."""
    if device == "cpu" or (device == "auto" and not any(map(Path.exists, _DRIVERS))):
        return None  # without FAISS, which takes a quarter of a second to import
    import faiss

    number = int(device.partition(":")[2] or 0)
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > number:
        return number
    if device == "auto":
        return None
    raise ValueError(f"there is no device {device} that FAISS can use here")
