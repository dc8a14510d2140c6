"""The computations of K-Means on distinct rows: k-means++, assignment to the nearest centroid, and means.

Every row has a count, and the results are those of repeating the row that often.

- `BitRows`: 0/1 attributes, in the compiled core. Distances are double; means come from integer sums.
- `VectorRows`: float32 values. `FaissSearch` finds the nearest centroids on a CPU or GPU; `SklearnSearch` replaces it
  where FAISS is not installed. Means come from double sums.
- `UnitRows`: `VectorRows` of length 1, for the cosine metric. Centroids have length 1 too.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Protocol

import numpy as np

from facetools.clustering import codes
from facetools.clustering.points import sum_clusters
from facetools.runtime import extras, hardware

#: For fewer rows than this, starting threads takes longer than the computation.
MIN_THREADED_ROWS = 4096


class Rows(Protocol):
    """d distinct rows with a columns. Centroids have the shape (k, a)."""

    #: int64 (d,), the number of faces that share each row.
    counts: np.ndarray

    def select(self, indices: np.ndarray) -> Rows:
        """The rows with these indices."""

    def initial_centroids(self, k: int, rng: np.random.Generator) -> np.ndarray:
        """k different rows as centroids, chosen by greedy k-means++."""

    def assign(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The index of the nearest centroid of each row, int (d,), and the squared distance to it (d,)."""

    def means(self, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The centroid of each cluster, float64 (k, a), and its size, float64 (k,).

        The size is the number of faces; for the cosine metric, the length of the sum of their rows. `labels` is int
        (d,). No cluster may be empty.
        """

    def merge(self, centroids: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The centroid (a,) of the union of clusters with these centroids and sizes."""

    def merge_costs(self, centroids: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All pairs of clusters, int (pairs,) twice, and by how much their merger raises the inertia, float64
        (pairs,)."""


class BitRows:
    """Rows of 0/1 attributes as packed codes, uint64 (d, words). Centroids are means of the unweighted attributes."""

    def __init__(self, packed_codes: np.ndarray, counts: np.ndarray, weights: np.ndarray, jobs: int) -> None:
        self.counts, self.weights = counts, weights
        self._codes, self._jobs = packed_codes, jobs
        self._threads = jobs if len(packed_codes) >= MIN_THREADED_ROWS else 1

    def select(self, indices: np.ndarray) -> BitRows:
        return BitRows(self._codes[indices], self.counts[indices], self.weights, self._jobs)

    def initial_centroids(self, k: int, rng: np.random.Generator) -> np.ndarray:
        attributes = len(self.weights)
        indices = codes.kmeans_seed(
            self._codes,
            self.counts,
            k,
            int(rng.integers(2**63)),
            attributes=attributes,
            weights=self.weights,
            threads=self._threads,
        )
        return codes.unpack(self._codes[indices], attributes).astype(np.float64)

    def assign(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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

    def merge(self, centroids: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        return np.average(centroids, axis=0, weights=sizes)

    def merge_costs(self, centroids: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _ward_costs(centroids * self.weights, sizes)


class VectorRows:
    """Rows of weighted values, float32 (d, a). Centroids are means of the weighted values.

    `gpu` is the index of the GPU for FAISS, None for the CPU.
    """

    def __init__(self, weighted_rows: np.ndarray, counts: np.ndarray, jobs: int, gpu: int | None) -> None:
        self.counts = counts
        self._rows = np.ascontiguousarray(weighted_rows)
        self._search = FaissSearch(jobs, gpu) if extras.is_installed("faiss") else SklearnSearch(jobs)

    def select(self, indices: np.ndarray) -> VectorRows:
        selection = copy(self)  # shares the search, whose GPU resources are expensive
        selection.counts, selection._rows = self.counts[indices], self._rows[indices]
        return selection

    def initial_centroids(self, k: int, rng: np.random.Generator) -> np.ndarray:
        return kmeans_plus_plus(self._rows, self.counts, k, rng)

    def assign(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._search.assign(self._rows, np.ascontiguousarray(centroids, np.float32))

    def means(self, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        sums, sizes = sum_clusters(self._rows, self.counts, labels, k)
        return sums / sizes[:, None], sizes

    def merge(self, centroids: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        return np.average(centroids, axis=0, weights=sizes)

    def merge_costs(self, centroids: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _ward_costs(centroids.astype(np.float64), sizes)


class UnitRows(VectorRows):
    """Rows of length 1, for spherical K-Means (Dhillon and Modha 2001). The centroid is the direction of the sum.

    Half the squared distance of two vectors of length 1 is 1 - cos, so the nearest centroid is the same. A cluster
    whose rows have the sum s has the inertia (number of faces) - |s|.
    """

    def assign(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels, squared_distances = super().assign(centroids)
        return labels, squared_distances / 2

    def means(self, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        sums, _ = sum_clusters(self._rows, self.counts, labels, k)
        lengths = np.linalg.norm(sums, axis=1)
        for cluster in np.flatnonzero(lengths == 0):  # opposite rows: every direction has the same inertia
            sums[cluster] = self._rows[np.argmax(labels == cluster)]
        return sums / np.linalg.norm(sums, axis=1)[:, None], lengths

    def merge(self, centroids: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        total = sizes @ centroids
        length = np.linalg.norm(total)
        return total / length if length else centroids[0]

    def merge_costs(self, centroids: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        first, second = np.triu_indices(len(centroids), 1)
        cosines = (centroids @ centroids.T)[first, second]
        m, n = sizes[first], sizes[second]
        return first, second, m + n - np.sqrt(np.maximum(m * m + n * n + 2 * m * n * cosines, 0))


def _ward_costs(centroids: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows.merge_costs for squared euclidean distances between float64 `centroids` (k, a).

    Clusters with m and n faces and centroids x and y cost m n / (m + n) |x - y|^2 (Ward 1963).
    """
    first, second = np.triu_indices(len(centroids), 1)
    squared_norms = np.einsum("ij,ij->i", centroids, centroids)
    distances = squared_norms[first] - 2 * (centroids @ centroids.T)[first, second] + squared_norms[second]
    return first, second, sizes[first] * sizes[second] / (sizes[first] + sizes[second]) * distances


class SklearnSearch:
    """Exact search for the nearest centroid by scikit-learn, on the CPU."""

    def __init__(self, jobs: int) -> None:
        from sklearn.metrics import pairwise_distances_argmin_min
        from threadpoolctl import threadpool_limits

        self._find_nearest: Any = pairwise_distances_argmin_min
        self._limit_threads: Any = threadpool_limits
        self._jobs = jobs

    def assign(self, rows: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The index of the nearest centroid of each row (d,), and the squared distance to it (d,)."""
        with self._limit_threads(self._jobs):
            return self._find_nearest(rows, centroids, metric="sqeuclidean")


class FaissSearch:
    """Exact search for the nearest centroid by FAISS, on the CPU or on a GPU."""

    def __init__(self, jobs: int, gpu: int | None) -> None:
        import faiss

        self._faiss: Any = faiss
        self._gpu = gpu
        self._resources = None if gpu is None else faiss.StandardGpuResources()
        faiss.omp_set_num_threads(jobs)

    def assign(self, rows: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The index of the nearest centroid of each row (d,), and the squared distance to it (d,)."""
        index = self._faiss.IndexFlatL2(centroids.shape[1])
        if self._resources is not None:
            index = self._faiss.index_cpu_to_gpu(self._resources, self._gpu, index)
        index.add(centroids)
        distances, labels = index.search(rows, 1)
        return labels[:, 0], distances[:, 0]


def kmeans_plus_plus(rows: np.ndarray, counts: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k different rows as centroids, float32 (k, a), by greedy k-means++ (Arthur and Vassilvitskii 2007).

    Each centroid is the best of 2 + log(k) candidates: the one that most reduces the sum of squared distances.
    Candidates are drawn with probability proportional to count x squared distance to the nearest centroid so far.
    Time: O(d a k log k).
    """
    squared_norms = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)

    def squared_distances_to(indices: np.ndarray) -> np.ndarray:
        products = (rows @ rows[indices].T).astype(np.float64)
        return np.maximum(squared_norms[:, None] - 2 * products + squared_norms[indices], 0.0)

    candidate_count = 2 + int(np.log(k))
    chosen = [int(_draw_indices(counts.astype(np.float64), 1, rng)[0])]
    distances = squared_distances_to(np.array(chosen))[:, 0]
    distances[chosen] = 0.0
    while len(chosen) < k:
        probabilities = counts * distances
        if not probabilities.any():
            # In float32, every row coincides with a centroid: choose among the other rows at random.
            probabilities = np.isin(np.arange(len(rows)), chosen, invert=True).astype(np.float64)
        candidates = _draw_indices(probabilities, candidate_count, rng)
        new_distances = np.minimum(distances[:, None], squared_distances_to(candidates))
        new_distances[candidates, np.arange(candidate_count)] = 0.0
        best = int(np.argmin(counts @ new_distances))
        chosen.append(int(candidates[best]))
        distances = new_distances[:, best]
    return rows[chosen]


def _draw_indices(probabilities: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """`size` indices, drawn with replacement in proportion to `probabilities`, which need not add up to 1."""
    cumulative = np.cumsum(probabilities)
    indices = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    return np.minimum(indices, np.flatnonzero(probabilities)[-1])


def choose_faiss_gpu(device: str) -> int | None:
    """The index of the GPU that FAISS uses for `device` (auto, cpu, cuda or cuda:N), or None for the CPU.

    Raises ValueError if `device` names a GPU that FAISS cannot use, MissingExtraError if it names a GPU and FAISS is
    not installed.
    """
    requires_gpu = device.startswith("cuda")
    if requires_gpu and not extras.is_installed("faiss"):
        raise extras.MissingExtraError(f"the device {device} needs FAISS: pip install 'facetools[gpu]'")
    if not requires_gpu and (device == "cpu" or not hardware.gpu_count() or not extras.is_installed("faiss")):
        return None  # before the import of FAISS, which takes a quarter of a second
    import faiss

    index = int(device.partition(":")[2] or 0)
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > index:
        return index
    if not requires_gpu:
        return None
    raise ValueError(f"FAISS cannot use the device {device} here")
